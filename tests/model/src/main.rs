//! `lango-model`: runs one seed after the other for so long, and stops at the first that fails.
//!
//! `lango-model [--seconds N] [--seed N] [--runs N] [--mirror] [--replay FILE]`; `lango-model --lies` plants bugs, each of which must
//! be found.

use lango_model::lies::ALL;
use lango_model::run::{Passed, Setting, report};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> anyhow::Result<ExitCode> {
    use lexopt::ValueExt;
    let (mut seconds, mut first, mut runs, mut mirror, mut lies, mut replay) = (60u64, 1u64, u64::MAX, false, false, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("seconds") => seconds = arguments.value()?.parse()?,
            lexopt::Arg::Long("seed") => first = arguments.value()?.parse()?,
            lexopt::Arg::Long("runs") => runs = arguments.value()?.parse()?,
            lexopt::Arg::Long("mirror") => mirror = true,
            lexopt::Arg::Long("lies") => lies = true,
            lexopt::Arg::Long("replay") => replay = Some(arguments.value()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let setting = Setting::new(mirror)?;
    if let Some(file) = replay {
        let text = std::fs::read_to_string(file)?;
        let inputs: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect::<Result<_, _>>()?;
        return Ok(match setting.run(first, &inputs) {
            Ok(passed) => {
                println!("it passes: {passed:?}");
                ExitCode::SUCCESS
            }
            Err(failed) => {
                println!("{}", report(first, &failed));
                ExitCode::FAILURE
            }
        });
    }
    // A panic is a finding like any other: it is told once, at the end.
    std::panic::set_hook(Box::new(|_| {}));
    if lies {
        return Ok(find_lies(&setting));
    }
    let (began, mut all, mut count) = (Instant::now(), Passed::default(), 0);
    while began.elapsed() < Duration::from_secs(seconds) && count < runs {
        match setting.seed(first.wrapping_add(count)) {
            Ok(passed) => {
                all.steps += passed.steps;
                all.sums += passed.sums;
                count += 1;
            }
            Err(failed) => {
                println!("{}", report(first.wrapping_add(count), &failed));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let s = all.sums;
    println!(
        "{count} runs from seed {first}, {} steps in {:.0} s: {} prompts; Safaricom took {}, served {}, unserved and seen {}, under review {}, by hand and waiting {}, never told {}; {} vouchers",
        all.steps,
        began.elapsed().as_secs_f64(),
        s.prompts,
        s.taken,
        s.served,
        s.unserved,
        s.review,
        s.waiting,
        s.untold,
        s.vouchers
    );
    Ok(ExitCode::SUCCESS)
}

/// Each lie in the runs of up to 2,000 seeds, until it is found; as a table.
fn find_lies(setting: &Setting) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in ALL {
        match setting.finds(row, 2_000) {
            Ok(found) => println!("{:<80} seed {:>4}, told in {:>3} runs: {:.90}", row.what, found.seed, found.told, found.why),
            Err(why) => {
                println!("{:<80} NOT FOUND: {why}", row.what);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

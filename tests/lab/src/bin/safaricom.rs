//! The simulated Safaricom as a program of its own, for trying a relay by hand: every prompt is paid after two seconds.

use anyhow::Result;
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::customer::Customer;
use lango_lab::safaricom::daraja::Merchant;
use std::time::Duration;

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8099".to_owned()).parse()?;
    let merchant = Merchant::sandbox();
    println!("base_url = \"http://{address}\"");
    println!("consumer_key = {:?}\nconsumer_secret = {:?}", merchant.consumer_key, merchant.consumer_secret);
    println!("shortcode = {:?}\npasskey = {:?}", merchant.shortcode, merchant.passkey);
    println!("transaction_type = {:?}", merchant.transaction_type);
    let safaricom = Safaricom::start(None, address, merchant)?;
    safaricom.everybody(Customer::pays_after(Duration::from_secs(2)));
    let mut told = (0, 0);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let (prompts, refusals) = (safaricom.prompts(), safaricom.refusals());
        for refusal in &refusals[told.1..] {
            println!("refused: {} {}", refusal.code, refusal.message);
        }
        while let Some(prompt) = prompts.get(told.0).filter(|prompt| prompt.done) {
            println!("prompt for KSh {}: result {:?}, callbacks {:?}", prompt.push.amount, prompt.code, prompt.callbacks);
            told.0 += 1;
        }
        told.1 = refusals.len();
    }
}

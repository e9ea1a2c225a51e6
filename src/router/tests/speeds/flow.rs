//! What TCP gets, and how long others wait meanwhile.

use super::*;

/// A window.
const MEASURED: Duration = Duration::from_secs(2);

/// So many windows, one after the other, of which the median is judged: TCP swings, and so does a machine that does other things as
/// well, but a speed that is not held is beyond it in most of them.
const WINDOWS: usize = 5;

/// Where a machine has no time for a while, queues run empty and nothing fills the speed: so many windows pass at most until five in a row
/// hold it.
const PATIENCE: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// A TCP connection from a phone that carries as much as it can one way.
pub struct Flow {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Flow {
    pub fn start(world: &World, phone: Host, to: SocketAddr, way: Way) -> Self {
        let (near, far) = connection(world, phone, to);
        let (mut sender, mut receiver) = if way == Way::Up { (near, far) } else { (far, near) };
        let (stop, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (stop.clone(), received.clone());
        let sending = std::thread::spawn(move || {
            let block = [0; 16_384];
            while !told.load(Ordering::Relaxed) {
                sender.write_all(&block)?;
            }
            Ok(())
        });
        let receiving = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let length @ 1.. = receiver.read(&mut buffer)? {
                counted.fetch_add(length as u64, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, received, threads: vec![sending, receiving] }
    }

    pub fn bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until so many more bytes came: it found its pace.
    pub fn settle(&self, bytes: u64) {
        let before = self.bytes();
        eventually("it flows", || (self.bytes() >= before + bytes).then_some(()));
    }

    /// Ends it, and says whether it lived until then.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Goodput of each of these at the same time, in kbit/s.
pub fn measure(flows: &[&Flow]) -> Vec<f64> {
    let (begun, before) = (Instant::now(), flows.iter().map(|flow| flow.bytes()).collect::<Vec<_>>());
    std::thread::sleep(MEASURED);
    let seconds = begun.elapsed().as_secs_f64();
    flows.iter().zip(before).map(|(flow, before)| (flow.bytes() - before) as f64 * 8.0 / 1_000.0 / seconds).collect()
}

/// The median, place by place.
fn medians(windows: &[Vec<f64>]) -> Vec<f64> {
    let place = |at: usize| {
        let mut all: Vec<f64> = windows.iter().map(|window| window[at]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (0..windows[0].len()).map(place).collect()
}

/// Waits until the median of what `read` makes of these flows' last windows is what is wanted, within five in a hundred; gives the medians of
/// the flows themselves. The flows have found their pace before ([`Flow::settle`]), and one window more lets them.
#[track_caller]
pub fn within_five_percent(what: &str, flows: &[&Flow], wanted: &[f64], read: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    measure(flows);
    let mut windows: Vec<Vec<f64>> = Vec::new();
    for _ in 0..PATIENCE {
        windows.push(measure(flows));
        let Some(last) = windows.len().checked_sub(WINDOWS) else { continue };
        let seen: Vec<Vec<f64>> = windows[last..].iter().map(|window| read(window)).collect();
        let got = medians(&seen);
        println!("{what}: {got:.0?} kbit/s of {wanted:.0?}, the medians of {seen:.0?}");
        if got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() <= wanted * 0.05) {
            return medians(&windows[last..]);
        }
    }
    panic!("{what}: never {wanted:.0?} kbit/s in {PATIENCE} windows: {windows:.0?}");
}

/// The same for one flow, or for the first of several.
#[track_caller]
pub fn one_within_five_percent(what: &str, flows: &[&Flow], wanted: f64) -> Vec<f64> {
    within_five_percent(what, flows, &[wanted], |measured| vec![measured[0]])
}

/// Far beyond any speed given here: not held at all.
#[track_caller]
pub fn unharmed(what: &str, kbps: f64) {
    println!("{what}: {kbps:.0} kbit/s");
    assert!(kbps > 50_000.0, "{what}: {kbps:.0} kbit/s");
}

/// Asks and waits for the answer, again and again; gives how long each took, in milliseconds.
pub fn probe(world: &World, phone: Host, to: SocketAddr, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<f64>> {
    let stop = stop.clone();
    world.spawn(phone, move || {
        let socket = udp_to(to);
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let (mut taken, mut buffer) = (Vec::new(), [0; 64]);
        while !stop.load(Ordering::Relaxed) {
            let asked = Instant::now();
            socket.send(b"x").unwrap();
            // Lost is as bad as late: a full queue may drop it.
            taken.push(socket.recv(&mut buffer).map_or(2_000.0, |_| asked.elapsed().as_secs_f64() * 1_000.0));
            std::thread::sleep(Duration::from_millis(20));
        }
        taken.sort_by(f64::total_cmp);
        taken
    })
}

//! A way to a server that can be cut off.

/// What is behind a gate.
#[derive(Clone)]
pub enum Target {
    Socket(std::path::PathBuf),
    Port(u16),
}

/// A port that leads to something else, until it is shut.
pub struct Gate {
    pub port: u16,
    state: tokio::sync::watch::Sender<bool>,
}

impl Gate {
    pub fn new() -> Self {
        Self { port: 0, state: tokio::sync::watch::Sender::new(false) }
    }
    pub async fn open_to(&mut self, target: Target) {
        let bind = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = bind().await;
        // The target may not listen yet: its port is no gate's, which would lead to itself.
        while matches!(target, Target::Port(port) if port == listener.local_addr().unwrap().port()) {
            let another = bind().await;
            listener = another;
        }
        self.port = listener.local_addr().unwrap().port();
        let shut = self.state.subscribe();
        tokio::spawn(async move {
            loop {
                let (outer, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(outer, target.clone(), shut.clone()));
            }
        });
    }
    pub fn shut(&self) {
        self.state.send_replace(true);
    }
    pub fn open_again(&self) {
        self.state.send_replace(false);
    }
}

async fn pass(mut outer: tokio::net::TcpStream, target: Target, mut shut: tokio::sync::watch::Receiver<bool>) {
    if *shut.borrow_and_update() {
        return;
    }
    let both_ways = async {
        match target {
            Target::Socket(path) => {
                let Ok(mut inner) = tokio::net::UnixStream::connect(path).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            }
            Target::Port(port) => {
                let Ok(mut inner) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            }
        }
    };
    tokio::select! {
        () = both_ways => {}
        _ = shut.changed() => {}
    }
}

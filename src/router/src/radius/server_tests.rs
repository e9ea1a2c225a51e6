//! One server's life, without a socket.

use super::*;
use crate::radius::dynamic::Named;
use lango_core::radius::StationFormat;
use radius::core::code::Code;

const WAIT: Duration = Duration::from_millis(100);

pub fn nas() -> Nas {
    Nas {
        identifier: "kibera-7".into(),
        address: None,
        called_station: "02-00-5E-10-00-01:Lango".into(),
        station: StationFormat::default(),
        location_id: None,
        location_name: None,
    }
}

pub fn server(tls: bool) -> (Rc<Server>, mpsc::Receiver<Vec<u8>>) {
    let (events, _) = mpsc::channel(1);
    let desk = Desk::new(Named { identifier: "kibera-7".into(), address: None }, events);
    let config = ServerConfig { host: "192.0.2.10".into(), port: 1812, tls, must_sign: false };
    let (server, packets) = Server::new(config, b"secret", desk);
    server.connected(None);
    (server, packets)
}

async fn ask(server: &Server) -> Result<Packet, Silence> {
    let nas = nas();
    server.ask(&[WAIT], Blame::Server, |sending| request::status(&nas, sending)).await
}

/// Answers what is asked next.
async fn answer(server: &Server, packets: &mut mpsc::Receiver<Vec<u8>>) {
    let request = packets.recv().await.unwrap();
    let asked = Packet::decode(&request, &server.secret).unwrap();
    server.received(&asked.make_response_packet(Code::AccessAccept).encode().unwrap(), None);
}

fn is_renewed(server: &Server) -> bool {
    pin!(server.renew.notified()).enable()
}

#[tokio::test]
async fn one_question_without_an_answer_is_not_the_server_s_fault_where_others_are_answered() {
    let (server, mut packets) = server(false);
    let others = async {
        packets.recv().await.unwrap(); // the first is lost
        answer(&server, &mut packets).await;
    };
    let (lost, second, ()) = tokio::join!(ask(&server), ask(&server), others);
    assert!(lost == Err(Silence::NoAnswer) && second.is_ok());
    assert!(server.is_up() && !is_renewed(&server));
    // What came before the question says nothing of the server now.
    assert_eq!(ask(&server).await.err(), Some(Silence::NoAnswer));
    assert!(!server.is_up() && is_renewed(&server));
}

#[tokio::test]
async fn each_question_has_an_authenticator_of_its_own_and_its_repetition_the_same() {
    let (server, mut packets) = server(false);
    let nas = nas();
    for _ in 0..2 {
        let asked = server.ask(&[WAIT, WAIT], Blame::Server, |sending| request::status(&nas, sending)).await;
        assert_eq!(asked.err(), Some(Silence::NoAnswer));
    }
    let mut next = || packets.try_recv().unwrap()[4..20].to_vec();
    let [first, again, second, _] = [next(), next(), next(), next()];
    assert!(first == again && first != second && first != [0; 16]);
}

#[tokio::test]
async fn two_that_time_out_at_once_end_one_connection_and_not_the_next() {
    let (server, _packets) = server(true);
    let (one, two) = tokio::join!(ask(&server), ask(&server));
    assert!(one.is_err() && two.is_err());
    server.connected(None);
    assert!(!is_renewed(&server), "the new connection is not at fault");
}

#[tokio::test]
async fn an_idle_connection_is_tried_and_given_up_when_a_server_that_answered_does_not() {
    const IDLE: Duration = Duration::from_millis(200);
    tokio::task::LocalSet::new()
        .run_until(async {
            let (server, mut packets) = server(true);
            let alive = tokio::task::spawn_local(Rc::clone(&server).keep_alive(Rc::new(nas()), IDLE));
            // It may not know the question: its connection is left alone.
            for _ in 0..3 {
                assert_eq!(packets.recv().await.unwrap()[0], 12);
            }
            assert!(server.is_up() && !is_renewed(&server));
            answer(&server, &mut packets).await;
            packets.recv().await.unwrap();
            timeout(Duration::from_secs(10), server.renew.notified()).await.unwrap();
            assert!(!server.is_up());
            // Nothing is asked where there is no connection.
            server.disconnected();
            while packets.try_recv().is_ok() {}
            assert!(timeout(3 * IDLE, packets.recv()).await.is_err());
            server.connected(None);
            answer(&server, &mut packets).await;
            alive.abort();
        })
        .await;
}

//! `GET /api/payments/ID/events`: a payment's changes as they happen, in the form of server-sent events (WHATWG HTML, section 9.2).

use super::Backend;
use super::desk::Desk;
use lango_core::request::{PaymentStatus, PaymentView};
use lango_core::units::{Mac, OrderId};
use picoserve::io::Write;
use picoserve::response::custom::CustomBody;
use std::rc::Rc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep;

/// A payment that somebody watches.
pub struct Watch {
    /// Who.
    pub device: Mac,
    /// Which.
    pub order: OrderId,
    /// How it stood when the stream began.
    pub first: PaymentView,
    /// Its changes since before that.
    pub changes: broadcast::Receiver<OrderId>,
}

/// The body of the answer.
pub struct Stream<B> {
    /// Who answers.
    pub desk: Rc<Desk<B>>,
    /// What is watched.
    pub watch: Box<Watch>,
}

impl<B: Backend> CustomBody for Stream<B> {
    async fn write_response_body<W: Write>(self, mut writer: W) -> Result<(), W::Error> {
        let Self { desk, watch } = self;
        let Watch { device, order, first, mut changes } = *watch;
        let heartbeat = desk.config().limits.heartbeat;
        let mut stopping = std::pin::pin!(desk.stopping());
        let mut sent = event(&first);
        writer.write_all(sent.as_bytes()).await?;
        writer.flush().await?;
        let mut open = first.status == PaymentStatus::Pending;
        while open {
            let changed = tokio::select! {
                biased;
                () = stopping.as_mut() => break,
                change = changes.recv() => match change {
                    Ok(changed) => changed == order,
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => break,
                },
                () = sleep(heartbeat) => {
                    writer.write_all(b":\n\n").await?;
                    writer.flush().await?;
                    false
                }
            };
            if !changed {
                continue;
            }
            let Ok(view) = desk.payment(device, order.clone()).await else { break };
            open = view.status == PaymentStatus::Pending;
            let event = event(&view);
            if event != sent {
                writer.write_all(event.as_bytes()).await?;
                writer.flush().await?;
                sent = event;
            }
        }
        Ok(())
    }
}

/// One event. JSON has no line ends of its own, so it is one `data:` line.
fn event(view: &PaymentView) -> String {
    format!("data: {}\n\n", serde_json::to_string(view).unwrap_or_default())
}

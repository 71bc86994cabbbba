//! The operator's end of a connection.

use std::net::SocketAddr;

use entente_host::Error;
use entente_host::link::{self, Dialled, Frames, LinkError};
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::COORDINATOR_NAME;
use quinn::VarInt;

use super::tls;
use crate::hall::alliance::Alliance;

/// How much may wait to be read: a result comes at once.
const WINDOW: u32 = 16 << 20;

/// A connection to the running coordinator, for one request.
pub(crate) struct Line(Dialled);

impl Line {
    /// Connects to the coordinator at `address`; `unreachable` says what is wrong if it does not answer.
    pub(crate) async fn dial(
        alliance: &Alliance,
        address: SocketAddr,
        unreachable: impl Fn(String) -> Error,
    ) -> Result<Self, Error> {
        let dialled = link::dial(tls::operator(alliance)?, address, COORDINATOR_NAME).await;
        let dialled = dialled.map_err(|error| unreachable(error.to_string()))?;
        dialled.connection().set_receive_window(VarInt::from_u32(WINDOW));
        Ok(Self(dialled))
    }

    /// Sends the one request. The frames that answer it.
    pub(crate) async fn ask(&self, request: &[u8]) -> Result<Frames, LinkError> {
        let (mut out, into) = self.0.connection().open_bi().await?;
        link::send(&mut out, request).await?;
        // Fails where the stream is gone already, which reading finds.
        let _ = out.finish();
        Ok(Frames::new(into, FrameReader::to_operators()))
    }

    /// Closes the connection, and waits until the other side has heard.
    pub(crate) async fn end(self) {
        self.0.end().await;
    }
}

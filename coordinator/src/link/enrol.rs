//! Enrolment: the one conversation without a client certificate. A ticket is its proof.

use entente_host::Error;
use entente_host::link::{Frames, LinkError};
use entente_host::terminal::clean;
use entente_protocols::identity::check_name;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{Enrol, Enrolled};

use super::FIRST;
use super::close::{Close, close};
use crate::coordinator::Shared;

/// Reads one request, answers it, and waits until the answer has arrived.
pub(super) async fn serve(shared: &Shared, connection: &quinn::Connection) -> Result<(), LinkError> {
    let accepted = tokio::time::timeout(FIRST, connection.accept_bi()).await.map_err(|_| LinkError::Slow(FIRST))?;
    let (mut send, receive) = accepted?;
    let request: Enrol = Frames::new(receive, FrameReader::enrolment()).next_within(FIRST).await?.decode()?;
    let partner = clean(&request.partner);
    let answer = match enrol(shared, &request) {
        Ok(answer) => answer,
        Err(Error::Refused(reason)) => {
            tracing::warn!(partner, reason, from = %connection.remote_address(), "enrolment refused");
            Enrolled::Refused(reason)
        }
        Err(Error::Failed(reason)) => {
            // What went wrong inside is not for strangers.
            tracing::error!(partner, reason, "enrolment failed");
            Enrolled::Refused("the coordinator could not enrol you; its log says why. Try again later".into())
        }
    };
    let sent = async {
        send.write_all(&frame::encode(&answer)).await.ok()?;
        send.finish().ok()?;
        // The other side closes when it has read the answer.
        connection.closed().await;
        Some(())
    };
    let _ = tokio::time::timeout(FIRST, sent).await;
    close(connection, Close::Done, "");
    Ok(())
}

fn enrol(shared: &Shared, request: &Enrol) -> Result<Enrolled, Error> {
    let Enrol { partner, secret, request, member } = request;
    check_name(partner).map_err(|error| Error::refused(error.to_string()))?;
    let certificate = shared.enrol(partner, secret, request, member)?;
    let authority = shared.authority.certificate().to_vec();
    Ok(Enrolled::Accepted { certificate, authority, roster: shared.roster()? })
}

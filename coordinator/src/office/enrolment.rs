//! Enrolment: the one conversation without a client certificate. A ticket is its proof.

use std::fmt::Display;

use entente_host::Error;
use entente_host::link::LinkError;
use entente_host::terminal::clean;
use entente_protocols::identity::check_name;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{Enrol, Enrolled};

use super::members::{Enrolment, Members};
use crate::hall::close::Close;
use crate::link::peer::{FIRST, Peer};

/// Reads one request, answers it, and waits until the answer has arrived.
pub(super) async fn serve(members: &Members, peer: &Peer) -> Result<(), LinkError> {
    let (mut out, mut frames) = peer.open(FrameReader::enrolment()).await?;
    let request: Enrol = frames.next_within(FIRST).await?.decode()?;
    let answer = answer(members, &request, &peer.address());
    let sent = async {
        out.say(&frame::encode(&answer)).await.ok()?;
        out.end().ok()?;
        // The other side closes when it has read the answer.
        peer.closed().await;
        Some(())
    };
    let _ = tokio::time::timeout(FIRST, sent).await;
    peer.close(Close::Done, "");
    Ok(())
}

/// What is said to whoever joins from `address`.
pub(crate) fn answer(members: &Members, request: &Enrol, address: &dyn Display) -> Enrolled {
    let partner = clean(&request.partner);
    match enrol(members, request) {
        Ok(Enrolment { certificate, authority, roster }) => Enrolled::Accepted { certificate, authority, roster },
        Err(Error::Refused(reason)) => {
            tracing::warn!(partner, %reason, from = %address, "enrolment refused");
            Enrolled::Refused(reason.to_string())
        }
        Err(Error::Failed(reason)) => {
            // What went wrong inside is not for strangers.
            tracing::error!(partner, %reason, "enrolment failed");
            Enrolled::Refused("the coordinator could not enrol you; its log says why. Try again later".into())
        }
    }
}

fn enrol(members: &Members, request: &Enrol) -> Result<Enrolment, Error> {
    let Enrol { partner, secret, request, member } = request;
    check_name(partner).map_err(|error| Error::refused(error.to_string()))?;
    members.enrol(partner, secret, request, member)
}

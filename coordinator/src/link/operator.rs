//! The operator's command line: one request a connection, then its answers.

use std::sync::Arc;

use entente_host::Error;
use entente_host::clock::is_off;
use entente_host::link::{Frames, LinkError};
use entente_protocols::ledger::Head;
use entente_protocols::ledger::checkpoint::{Statement, Totals};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{FromOperator, ToOperator};
use quinn::SendStream;

use super::FIRST;
use crate::coordinator::Shared;
use crate::store::{StudyRecord, StudyState};
use crate::views::{AccountView, AlarmView, PartnerView, PartnersView, StudyView, WaitingView, WitnessedView};

/// The longest piece of a result's file in one message.
const PIECE: usize = 1 << 20;

/// Why an answer did not get through.
struct Gone;

/// Serves one connection of the operator.
pub(super) async fn serve(shared: &Arc<Shared>, connection: &quinn::Connection) -> Result<(), LinkError> {
    let accepted = tokio::time::timeout(FIRST, connection.accept_bi()).await.map_err(|_| LinkError::Slow(FIRST))?;
    let (send, receive) = accepted?;
    let request: FromOperator =
        Frames::new(receive, FrameReader::from_operators()).next_within(FIRST).await?.decode()?;
    let mut answers = Answers { send };
    if answer(shared, request, &mut answers).await.is_ok() && answers.send.finish().is_ok() {
        // The command closes when it has read everything.
        connection.closed().await;
    }
    Ok(())
}

struct Answers {
    send: SendStream,
}

impl Answers {
    async fn say(&mut self, message: &ToOperator) -> Result<(), Gone> {
        self.send.write_all(&frame::encode(message)).await.map_err(|_| Gone)
    }

    async fn say_error(&mut self, error: Error) -> Result<(), Gone> {
        let message = match error {
            Error::Refused(reason) => ToOperator::Refused(reason),
            Error::Failed(reason) => ToOperator::Failed(reason),
        };
        self.say(&message).await
    }
}

async fn answer(shared: &Arc<Shared>, request: FromOperator, answers: &mut Answers) -> Result<(), Gone> {
    let answer = match request {
        FromOperator::Partners => partners(shared).and_then(|view| json(&view)).map(ToOperator::Partners),
        FromOperator::Check { study } => {
            shared.check(study).await.and_then(|view| json(&view)).map(ToOperator::Checked)
        }
        FromOperator::List => studies(shared, None).map(ToOperator::Studies),
        FromOperator::Show(id) => studies(shared, Some(&id)).map(ToOperator::Studies),
        FromOperator::Cancel(id) => shared.cancel(&id).await.map(ToOperator::Done),
        FromOperator::Resume(id) => shared.resume(&id).map(ToOperator::Done),
        FromOperator::Revoke(partner) => shared.revoke(&partner).await.map(ToOperator::Done),
        FromOperator::Acknowledge { alarm, note } => shared
            .store
            .acknowledge(alarm, &note, shared.clock.now().as_second())
            .map(|()| ToOperator::Done(format!("alarm {alarm} is acknowledged"))),
        FromOperator::Run { study, follow } => match shared.submit(study) {
            Ok(id) => {
                answers.say(&ToOperator::Accepted(id.clone())).await?;
                return if follow { self::follow(shared, &id, answers).await } else { Ok(()) };
            }
            Err(error) => Err(error),
        },
        FromOperator::Follow(id) => return follow(shared, &id, answers).await,
    };
    match answer {
        Ok(message) => answers.say(&message).await,
        Err(error) => answers.say_error(error).await,
    }
}

/// Reports a study until it ends, then its result.
async fn follow(shared: &Shared, id: &str, answers: &mut Answers) -> Result<(), Gone> {
    if let Some(mut status) = shared.desk.follow(id) {
        loop {
            let now = status.borrow_and_update().clone();
            match now.end {
                None => answers.say(&ToOperator::Progress(now.progress)).await?,
                Some(Ok(())) => break,
                Some(Err(error)) => return answers.say_error(error).await,
            }
            if status.changed().await.is_err() {
                break;
            }
        }
    }
    match ended(shared, id) {
        Ok(()) => {}
        Err(error) => return answers.say_error(error).await,
    }
    let files = match shared.store.result(id) {
        Ok(files) => files,
        Err(error) => return answers.say_error(error).await,
    };
    for (file, content) in files {
        let mut pieces = content.chunks(PIECE).peekable();
        if pieces.peek().is_none() {
            answers.say(&ToOperator::Piece { file: file.clone(), bytes: Vec::new() }).await?;
        }
        for piece in pieces {
            answers.say(&ToOperator::Piece { file: file.clone(), bytes: piece.to_vec() }).await?;
        }
    }
    answers.say(&ToOperator::Result(id.into())).await
}

/// Whether a study that does not run has ended well.
fn ended(shared: &Shared, id: &str) -> Result<(), Error> {
    let record = shared.record(id)?;
    let reason = record.reason.unwrap_or_else(|| record.state.to_string());
    match record.state {
        StudyState::Done => Ok(()),
        StudyState::Running => Err(Error::refused(format!(
            "study {id} was interrupted; entente study resume {id} takes it up again, entente study cancel {id} gives it up"
        ))),
        StudyState::Refused | StudyState::Cancelled => Err(Error::Refused(reason)),
        StudyState::Failed => Err(Error::Failed(reason)),
    }
}

fn json<T: serde::Serialize>(view: &T) -> Result<String, Error> {
    serde_json::to_string(view).map_err(|error| Error::failed(error.to_string()))
}

fn studies(shared: &Shared, id: Option<&str>) -> Result<String, Error> {
    let records = match id {
        Some(id) => vec![shared.record(id)?],
        None => shared.store.studies()?,
    };
    let views: Vec<StudyView> = records.into_iter().map(|record| view(shared, record)).collect();
    json(&views)
}

/// What is known of a study.
pub(crate) fn view(shared: &Shared, record: StudyRecord) -> StudyView {
    let status = shared.desk.follow(&record.id).map(|status| status.borrow().clone());
    let progress = status.filter(|status| status.end.is_none()).map(|status| status.progress);
    let interrupted = progress.is_none() && record.state == StudyState::Running;
    let stage = if interrupted { Some("interrupted".into()) } else { progress.as_ref().map(|now| now.stage.clone()) };
    let waiting = progress.map(|now| now.waiting).unwrap_or_default();
    StudyView {
        name: record.study.name,
        kind: record.study.spec.kind(),
        purpose: record.study.purpose,
        created: time(record.created.as_second()),
        state: record.state,
        attempt: record.attempt,
        participants: record.participants,
        stage,
        waiting: waiting.into_iter().map(|(partner, reason)| WaitingView { partner, reason }).collect(),
        notes: record.warnings,
        reason: record.reason,
        id: record.id,
    }
}

fn witnessed_view(statement: &Statement) -> WitnessedView {
    let rho = Rho::value;
    let account = |totals: &Totals| AccountView {
        spent_rho: rho(totals.spent),
        spent_rho_person: rho(totals.person),
        cap_rho: rho(totals.cap),
    };
    WitnessedView {
        ledger: Head { entries: statement.size, hash: statement.head },
        datasets: statement.datasets.iter().map(|(name, totals)| (name.clone(), account(totals))).collect(),
    }
}

/// RFC 3339, to the second.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// What is known of all partners.
pub(crate) fn partners(shared: &Shared) -> Result<PartnersView, Error> {
    let roster = shared.roster()?;
    let mut last_seen = shared.store.last_seen()?;
    let alarms = shared.store.alarms(false)?;
    let mut partners = Vec::new();
    for (name, partner) in shared.store.partners()? {
        let (live, last) = (shared.sessions.seen(&name), last_seen.remove(&name));
        let mut notices = Vec::new();
        if let Some(ahead) = live.as_ref().map(|live| live.clock_ahead).filter(|ahead| is_off(*ahead)) {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            notices.push(format!("its clock is {} s {side} the coordinator's; set both by NTP", ahead.unsigned_abs()));
        }
        notices.extend(shared.sessions.distrusted(&name).map(|why| format!("no studies with it: {why}")));
        if last.is_none() {
            notices.push("enrolled, but never connected since; start its node: entente-node serve".into());
        }
        let witnessed = shared.store.witnessed(&partner.member.identity)?;
        let witnessed = witnessed.as_ref().map(|checkpoint| witnessed_view(checkpoint.statement()));
        let of_this = alarms.iter().filter(|alarm| alarm.node == name);
        let open = of_this.map(|alarm| AlarmView {
            number: alarm.number,
            reason: alarm.reason.clone(),
            first: time(alarm.first),
            last: time(alarm.last),
        });
        let said = last.as_ref().map(|last: &crate::store::LastSeen| -> Head { last.ledger });
        let since =
            live.as_ref().map(|live| time(live.since.as_second())).or(last.as_ref().map(|last| time(last.time)));
        partners.push(PartnerView {
            connected: live.is_some(),
            since,
            address: live.as_ref().map(|live| live.address.clone()),
            software: live
                .as_ref()
                .map(|live| live.software.clone())
                .or(last.as_ref().map(|last| last.software.clone())),
            enrolled: time(partner.enrolled),
            identity: partner.member.identity,
            ledger: witnessed.as_ref().map(|seen| seen.ledger).into_iter().chain(said).max_by_key(|head| head.entries),
            witnessed,
            alarms: open.collect(),
            datasets: last.map(|last| last.datasets).unwrap_or_default(),
            clock_ahead_seconds: live.as_ref().map(|live| live.clock_ahead),
            notices,
            name,
        });
    }
    Ok(PartnersView { alliance: roster.alliance.clone(), roster_fingerprint: roster.fingerprint(), partners })
}

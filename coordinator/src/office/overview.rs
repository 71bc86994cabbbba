//! What is known of partners and studies, as it is shown: on the command line and on the operator's page.

use entente_host::Error;
use entente_host::clock::is_off;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::kind::Kind;
use entente_protocols::ledger::AccountKey;
use entente_protocols::ledger::Head;
use entente_protocols::ledger::checkpoint::{Statement, Totals};
use entente_protocols::privacy::rho::Rho;

use crate::hall::Hall;
use crate::scheduler::Scheduler;
use crate::scheduler::composed::{LEGS, leg_id};
use crate::store::{ComposedRecord, LastSeen, StudyRecord, StudyState};
use crate::views::{AccountView, AlarmView, PartnerView, PartnersView, StudyView, WaitingView, WitnessedView};

/// What is known of all studies, oldest first.
pub(crate) fn studies(hall: &Hall, scheduler: &Scheduler) -> Result<Vec<StudyView>, Error> {
    let studies = hall.store.studies()?.into_iter();
    let mut views: Vec<_> = studies.map(|record| (record.created, study(scheduler, record))).collect();
    for open in hall.store.open_composed()? {
        views.push((open.created, composed(hall, scheduler, open)?));
    }
    views.sort_by_key(|(created, _)| *created);
    Ok(views.into_iter().map(|(_, view)| view).collect())
}

/// What is known of one study.
pub(crate) fn one(hall: &Hall, scheduler: &Scheduler, id: &str) -> Result<StudyView, Error> {
    match (hall.store.study(id)?, hall.store.composed(id)?) {
        (None, Some(open)) => composed(hall, scheduler, open),
        _ => Ok(study(scheduler, scheduler.record(id)?)),
    }
}

/// A composed study before its last leg, by what is known of the present one.
fn composed(hall: &Hall, scheduler: &Scheduler, open: ComposedRecord) -> Result<StudyView, Error> {
    let ComposedRecord { id, created, asked, begun, refusal } = open;
    let training = asked.training();
    let view = StudyView {
        id: id.clone(),
        name: training.name.clone(),
        kind: Kind::Lookalike,
        purpose: training.purpose.clone(),
        requester: OPERATOR.into(),
        created: time(created.as_second()),
        state: StudyState::Running,
        attempt: 1,
        participants: asked.participants(),
        stage: None,
        waiting: Vec::new(),
        notes: Vec::new(),
        reason: None,
    };
    let leg = hall.store.study(&leg_id(&id, begun))?.map(|record| study(scheduler, record));
    Ok(match (leg, refusal) {
        (_, Some(refusal)) => StudyView { state: StudyState::Refused, reason: Some(refusal), ..view },
        (None, None) => StudyView { stage: Some("interrupted".into()), ..view },
        (Some(leg), None) => StudyView {
            state: if leg.state == StudyState::Done { StudyState::Running } else { leg.state },
            attempt: leg.attempt,
            stage: leg.stage.map(|stage| match stage.as_str() {
                "interrupted" => stage,
                stage => format!("{begun} of {LEGS}, {stage}"),
            }),
            waiting: leg.waiting,
            notes: leg.notes,
            reason: leg.reason,
            ..view
        },
    })
}

/// What is known of a study.
fn study(scheduler: &Scheduler, record: StudyRecord) -> StudyView {
    let status = scheduler.follow(&record.id).map(|status| status.borrow().clone());
    let progress = status.filter(|status| status.end.is_none()).map(|status| status.progress);
    let interrupted = progress.is_none() && record.state == StudyState::Running;
    let stage = if interrupted { Some("interrupted".into()) } else { progress.as_ref().map(|now| now.stage.clone()) };
    let waiting = progress.map(|now| now.waiting).unwrap_or_default();
    StudyView {
        name: record.study.name,
        kind: record.study.spec.kind(),
        purpose: record.study.purpose,
        requester: record.requester,
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
    // What was carried over to a population is not shown twice.
    let is_open =
        |(of, totals): &(&AccountKey, &Totals)| matches!(of, AccountKey::Population(_)) || totals.cap > Rho::ZERO;
    let open = statement.accounts.iter().filter(is_open);
    WitnessedView {
        ledger: Head { entries: statement.size, hash: statement.head },
        accounts: open.map(|(of, totals)| (of.name().to_owned(), account(totals))).collect(),
    }
}

/// RFC 3339, to the second.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// What is known of all partners.
pub(crate) fn partners(hall: &Hall) -> Result<PartnersView, Error> {
    let roster = hall.roster()?;
    let mut last_seen = hall.store.last_seen()?;
    let alarms = hall.store.alarms(false)?;
    let mut partners = Vec::new();
    for (name, partner) in hall.store.partners()? {
        let (live, last) = (hall.sessions.seen(&name), last_seen.remove(&name));
        let mut notices = Vec::new();
        if let Some(ahead) = live.as_ref().map(|live| live.clock_ahead).filter(|ahead| is_off(*ahead)) {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            notices.push(format!("its clock is {} s {side} the coordinator's; set both by NTP", ahead.unsigned_abs()));
        }
        notices.extend(hall.sessions.distrusted(&name).map(|why| format!("no studies with it: {why}")));
        if last.is_none() {
            notices.push("enrolled, but never connected since; start its node: entente-node serve".into());
        }
        let witnessed = hall.store.witnessed(&partner.member.identity)?;
        let witnessed = witnessed.as_ref().map(|checkpoint| witnessed_view(checkpoint.statement()));
        let of_this = alarms.iter().filter(|alarm| alarm.node == name);
        let open = of_this.map(|alarm| AlarmView {
            number: alarm.number,
            reason: alarm.reason.clone(),
            first: time(alarm.first),
            last: time(alarm.last),
        });
        let said = last.as_ref().map(|last: &LastSeen| -> Head { last.ledger });
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

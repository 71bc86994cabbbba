//! What is known of partners and studies, as it is shown: on the command line and on the operator's page.

use entente_host::Error;
use entente_host::clock::is_off;
use entente_protocols::ledger::Head;
use entente_protocols::ledger::checkpoint::{Statement, Totals};
use entente_protocols::privacy::rho::Rho;

use crate::hall::Hall;
use crate::scheduler::Scheduler;
use crate::store::{LastSeen, StudyRecord, StudyState};
use crate::views::{AccountView, AlarmView, PartnerView, PartnersView, StudyView, WaitingView, WitnessedView};

/// What is known of a study.
pub(crate) fn study(scheduler: &Scheduler, record: StudyRecord) -> StudyView {
    let status = scheduler.follow(&record.id).map(|status| status.borrow().clone());
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

//! Who asked for what a ledger has charged: the operator, or a partner that has signed it.

use std::sync::Arc;

use super::entry::{Entry, State};
use crate::identity::Roster;
use crate::identity::petition::{Asking, OPERATOR, Petition};
use crate::policy::StudyRef;

/// Looks at the requesters of entries, one after the other.
pub(super) struct Requesters<'a> {
    roster: Option<&'a Roster>,
    /// What was looked at last: a release has several entries.
    last: Option<(Arc<StudyRef>, Petition)>,
    /// How many studies' signatures have verified, and how many could not be looked at without the requester's key.
    verified: u64,
    unknown: u64,
    problem: Option<String>,
}

impl<'a> Requesters<'a> {
    pub(super) fn of(roster: Option<&'a Roster>) -> Self {
        Self { roster, last: None, verified: 0, unknown: 0, problem: None }
    }

    /// Looks at an entry. What was refused may have been for its signature.
    pub(super) fn take(&mut self, entry: &Entry<impl AsRef<str>>) {
        let Some(record) = entry.study().filter(|_| entry.state() != State::Refused) else { return };
        let requester = record.requester.as_ref();
        let Some(petition) = &record.petition else {
            if requester != OPERATOR {
                self.fails(
                    entry.sequence,
                    format!("`{requester}` is said to have asked for it, and has not signed it"),
                );
            }
            return;
        };
        let is_last = |(study, last): &(Arc<StudyRef>, Petition)| Arc::ptr_eq(study, &record.study) && last == petition;
        if self.last.as_ref().is_some_and(is_last) {
            return;
        }
        self.last = Some((Arc::clone(&record.study), petition.clone()));
        let known = self.roster.and_then(|roster| Some((roster, roster.members.get(requester)?)));
        match known {
            None => self.unknown += 1,
            Some((roster, member)) => {
                let asking = Asking { authority: roster.authority, id: &record.study.id, requester };
                if petition.verify(&asking, &member.identity) {
                    self.verified += 1;
                } else {
                    self.fails(entry.sequence, format!("`{requester}` has not signed that it asks for it"));
                }
            }
        }
    }

    fn fails(&mut self, sequence: u64, problem: String) {
        self.problem.get_or_insert(format!("entry {sequence}: {problem}"));
    }

    /// What was found; `None` where all was asked for by the operator.
    pub(super) fn verdict(self) -> Option<Result<String, String>> {
        let Self { verified, unknown, problem, .. } = self;
        match (problem, verified, unknown) {
            (Some(problem), ..) => Some(Err(problem)),
            (None, 0, 0) => None,
            (None, _, 0) => Some(Ok(format!("{verified} studies are signed by the partners that asked for them"))),
            (None, ..) => Some(Ok(format!(
                "{verified} studies are signed by the partners that asked for them; {unknown} by partners whose keys are not given"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ledger::checkpoint::node_origin;
    use crate::ledger::rules::Rules;
    use crate::ledger::store::Memory;
    use crate::ledger::verify::{export, verify_export};
    use crate::ledger::{Budgets, Caps, Ledger, Signer};
    use crate::policy::Request;
    use crate::policy::tests::{approved, request};
    use crate::privacy::rho::Rho;
    use crate::testing::{Party, alliance};

    /// What a verifier says of who asked, for a study that `requester` is said to have asked for with this signature.
    fn verdict(requester: &str, petition: Option<Petition>, with_roster: bool) -> Option<String> {
        let parties = Party::some(2);
        let (_, roster) = alliance(&parties);
        let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
        let budgets = Budgets::new(Rules::open([("d", "people", "id")]), caps);
        let mut ledger = Ledger::open(Memory::default(), budgets, "test 1").unwrap();
        let asked = request("s", 1, 10_000);
        let study = asked.study.clone().asked_by(requester);
        let asked = Request { study, requester: requester.into(), petition, ..asked };
        ledger.reserve(approved(asked), Digest([1; 32]), Digest([1; 32]), "now").unwrap();
        let key = crate::identity::IdentityKey::from_secret(&parties[0].identity.secret());
        let signer = Signer { origin: node_origin(roster.authority, "p0"), key };
        let text = export("p0", &signer, ledger.store()).unwrap();
        let report = verify_export(&text, with_roster.then_some(&roster));
        report.text().lines().find(|line| line.contains("requesters")).map(str::to_owned)
    }

    #[test]
    fn a_ledger_that_says_that_a_partner_asked_has_its_signature() {
        let parties = Party::some(2);
        let (_, roster) = alliance(&parties);
        let asking = Asking { authority: roster.authority, id: "s", requester: "p1" };
        let petition = Petition::sign(&asking, Digest([3; 32]), 7, &parties[1].identity);
        assert_eq!(verdict(OPERATOR, None, true), None);
        let good = verdict("p1", Some(petition.clone()), true).unwrap();
        assert!(good.contains("1 studies are signed"), "{good}");
        let unknown = verdict("p1", Some(petition.clone()), false).unwrap();
        assert!(unknown.contains("keys are not given"), "{unknown}");
        let another = Asking { id: "t", ..asking };
        let bad = [
            ("p1", None),
            ("the regulator", None),
            ("p0", Some(petition.clone())),
            ("p1", Some(Petition { time: 8, ..petition.clone() })),
            ("p1", Some(Petition::sign(&another, Digest([3; 32]), 7, &parties[1].identity))),
        ];
        for (requester, petition) in bad {
            let bad = verdict(requester, petition, true).unwrap();
            assert!(bad.contains("signed"), "{bad}");
            assert!(bad.to_lowercase().contains("fail"), "{bad}");
        }
    }
}

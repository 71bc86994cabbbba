//! A node's policy: which requests its rules approve, which need a steward, which are refused.
//!
//! [`Approved`] can be made here alone, and without one the ledger reserves nothing.

mod requesters;

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::petition::Petition;
use crate::kind::{Kind, UnknownKind};
use crate::privacy::blocks::ByYear;
use crate::privacy::mechanism::{Mechanism, person};
use crate::privacy::rho::Rho;

pub use requesters::{Limits, OverQuota, Requesters, Used};

/// A study as policy and ledger see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyRef {
    /// Its identifier.
    pub id: String,
    /// Attempts are numbered from 1; each one that is computed is charged.
    pub attempt: u32,
    /// Its name.
    pub name: String,
    /// Its purpose, as the operator stated it.
    pub purpose: String,
    /// Its legal basis, where one is stated.
    pub legal_basis: Option<String>,
    /// Study kind.
    pub kind: Kind,
    /// Hash of the canonical typed plan; null where there is none because the study was refused before.
    pub plan_sha256: Option<Digest>,
    /// Hash over plan, mechanism and participants: the same for the same question under another name, and for the same model
    /// from another file.
    pub question_sha256: Option<Digest>,
    /// Hash of what is asked and promised ([`crate::study::proposal`]).
    pub terms_sha256: Digest,
    /// Hash of what a decision on the study is about: [`Self::proposal`].
    pub proposal_sha256: Digest,
}

impl StudyRef {
    /// The same with the hash of what a decision on it is about, where `requester` asks.
    #[must_use]
    pub fn asked_by(mut self, requester: &str) -> Self {
        self.proposal_sha256 = self.proposal(requester);
        self
    }

    /// What a decision on the study is about, where `requester` asks: its identifier, name, purpose, legal basis and terms.
    pub fn proposal(&self, requester: &str) -> Digest {
        let Self { id, name, purpose, legal_basis, terms_sha256, .. } = self;
        let (is_based, basis) = (u8::from(legal_basis.is_some()), legal_basis.as_deref().unwrap_or_default());
        let [id, name, purpose] = [id, name, purpose].map(|text| text.as_bytes());
        let parts = [id, name, purpose, &[is_based], basis.as_bytes(), requester.as_bytes(), &terms_sha256.0];
        Digest::of("entente proposal 1", &parts)
    }
}

/// What a study asks of one data set: everything that is decided on and recorded.
#[derive(Clone, Debug)]
pub struct Request {
    /// The study.
    pub study: StudyRef,
    /// The data set.
    pub dataset: String,
    /// The data's snapshot, keyed by the node; `None` while it is not known.
    pub snapshot: Option<Digest>,
    /// The consent predicate applied.
    pub consent: Option<String>,
    /// Who asks.
    pub requester: String,
    /// Its signature, where that is a partner.
    pub petition: Option<Petition>,
    /// Who is given the result.
    pub recipients: Vec<String>,
    /// All participants.
    pub participants: Vec<String>,
    /// The column that is one customer.
    pub privacy_unit: String,
    /// The round, counted from 1.
    pub round: u32,
    /// Its noise and charge.
    pub mechanism: Arc<Mechanism>,
    /// The years that it is charged to, of a data set whose budget is by year.
    pub by_year: Option<ByYear>,
    /// What this attempt of the study costs in all, this round and all others.
    pub rho: Rho,
    /// The most that all attempts of the study may cost, as it states.
    pub most: Rho,
    /// What one of them costs in all, as it states.
    pub stated: Rho,
    /// The δ the study states.
    pub delta: f64,
    /// Whether it asks for each partner's own numbers beside those of all together.
    pub own_numbers: bool,
}

impl Request {
    /// What a loss of ρ in its scope is to a person who may be a customer of every participant.
    pub fn person(&self, rho: Rho) -> Rho {
        person(self.mechanism.scope(), self.mechanism.participants(), rho)
    }

    /// Which attempt it is of.
    pub fn attempt(&self) -> AttemptId {
        AttemptId::new(self.study.id.clone(), self.study.attempt)
    }
}

/// Who approves what the rules admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalMode {
    /// A steward, study by study.
    Manual,
    /// The rules alone.
    Auto,
}

/// What a policy's `kinds` admits: a study kind, or what studies of several kinds may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Studies of a kind.
    Studies(Kind),
    /// Joins of two partners' customers, in studies of whatever kind; admitted for when there are such studies.
    Match,
}

impl Admitted {
    /// All that a policy can name.
    pub fn all() -> impl Iterator<Item = Self> {
        Kind::all().map(Self::Studies).chain([Self::Match])
    }

    /// Its name in `node.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Studies(kind) => kind.name(),
            Self::Match => "match",
        }
    }
}

impl FromStr for Admitted {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::all().find(|admitted| admitted.name() == name).ok_or(UnknownKind)
    }
}

/// How many of n participants are assumed to collude where nobody says otherwise: max(1, ⌊(n−1)/2⌋), and 0 where there is one.
pub fn usual_colluders(participants: u32) -> u32 {
    if participants < 2 { 0 } else { (participants.saturating_sub(1) / 2).max(1) }
}

/// Fewest colluders that a study must assume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinColluders {
    /// As many as studies assume unless they say otherwise ([`usual_colluders`]). Whoever decides who takes part, and could invent
    /// participants, does not thin out a node's share of the noise by that.
    #[default]
    Relative,
    /// So many, however many participants there are.
    Absolute(u32),
}

impl MinColluders {
    /// How many of n participants; never all of them, as there would be nobody left to add noise.
    pub fn of(self, participants: u32) -> u32 {
        match self {
            Self::Relative => usual_colluders(participants),
            Self::Absolute(least) => least.min(participants.saturating_sub(1)),
        }
    }
}

/// The rules of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Who approves.
    pub approve: ApprovalMode,
    /// What is admitted.
    pub kinds: Vec<Admitted>,
    /// Fewest participants.
    pub min_partners: u32,
    /// Fewest colluders that a study must assume.
    pub min_colluders: MinColluders,
    /// Whether studies may ask for this partner's own numbers beside those of all together.
    pub own_numbers: bool,
    /// The most one study may cost a data set.
    pub per_study: Rho,
    /// The least ε, at the study's δ: who may ask cheaply may ask by the million, and learn from what no noise hides, such as time.
    pub min_epsilon: f64,
    /// What requesters may ask for within a day.
    pub requesters: Requesters,
}

/// A steward's answer to what was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StewardDecision {
    /// What the steward was shown ([`StudyRef::proposal`]). It says nothing about anything else.
    pub proposal: Digest,
    /// Who has decided.
    pub by: String,
    /// What.
    pub verdict: Verdict,
}

/// What a steward says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No, and why.
    Deny(String),
}

/// What the policy says.
pub enum Decision {
    /// Go on.
    Approved(Approved),
    /// Wait for a steward.
    AskSteward,
    /// No, and why.
    Refused(Refusal),
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A rule.
    #[error(transparent)]
    Rule(#[from] Objection),
    /// A steward.
    #[error("denied by {by}: {reason}")]
    Denied {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

/// A rule that a request breaks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Objection {
    /// `kinds`.
    #[error("studies of kind {kind} are not admitted here (policy admits: {})", names(admitted))]
    Kind {
        /// The study's.
        kind: Kind,
        /// What is admitted.
        admitted: Vec<Admitted>,
    },
    /// `min_partners`.
    #[error("the study has {}; policy asks for at least {least} (`min_partners` in node.toml)", counted(*participants))]
    Partners {
        /// How many there are.
        participants: usize,
        /// How many there must be.
        least: u32,
    },
    /// `min_colluders`.
    #[error(
        "the study assumes that {assumed} of {participants} participants collude; policy asks for at least {least} (`min_colluders` in \
         node.toml)"
    )]
    Colluders {
        /// How many participants add noise.
        participants: u32,
        /// How many the study assumes.
        assumed: u32,
        /// How many it must assume.
        least: u32,
    },
    /// `own_numbers`.
    #[error(
        "the study shows each partner's own numbers; policy admits that only with `own_numbers = true` in [policy] of node.toml (or \
         leave `per_partner` out of the study)"
    )]
    OwnNumbers,
    /// `min_epsilon`.
    #[error(
        "the study costs ρ = {stated} (ε = {:.4} at δ = {delta:e}); policy asks for at least ε = {least} (`min_epsilon` in [policy] of \
         node.toml), as cheap questions could be asked by the million",
        stated.epsilon(*delta)
    )]
    Epsilon {
        /// What it states to cost.
        stated: Rho,
        /// The least ε.
        least: f64,
        /// The δ at which both are shown.
        delta: f64,
    },
    /// `per_study`.
    #[error(
        "the study costs ρ = {asked} (ε = {:.3} at δ = {delta:e}); policy admits at most ρ = {most} (ε = {:.3}) per study",
        asked.epsilon(*delta),
        most.epsilon(*delta)
    )]
    Cost {
        /// The study's.
        asked: Rho,
        /// The most that is admitted.
        most: Rho,
        /// The δ at which both are shown.
        delta: f64,
    },
}

fn names(admitted: &[Admitted]) -> String {
    admitted.iter().map(|admitted| admitted.name()).collect::<Vec<_>>().join(", ")
}

fn counted(participants: usize) -> String {
    match participants {
        1 => "one participant, so that its noisy sums are of this partner alone".to_owned(),
        _ => format!("{participants} participants"),
    }
}

/// A request that policy has approved. Not `Clone`; used up by the reservation.
pub struct Approved {
    pub(crate) request: Box<Request>,
    pub(crate) by: String,
}

impl Approved {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The rule or steward.
    pub fn by(&self) -> &str {
        &self.by
    }
}

impl Policy {
    /// Decides on a request, with the steward's decision if there is one; it counts only if it is about this request. A steward cannot override
    /// the rules: they are changed in `node.toml`.
    pub fn decide(&self, request: Request, steward: Option<&StewardDecision>) -> Decision {
        if let Some(objection) = self.objection(&request) {
            return Decision::Refused(objection.into());
        }
        let steward = steward.filter(|decision| decision.proposal == request.study.proposal(&request.requester));
        match (self.approve, steward) {
            (_, Some(StewardDecision { by, verdict: Verdict::Deny(reason), .. })) => {
                Decision::Refused(Refusal::Denied { by: by.clone(), reason: reason.clone() })
            }
            (_, Some(StewardDecision { by, verdict: Verdict::Approve, .. })) => {
                Decision::Approved(Approved { request: Box::new(request), by: format!("steward {by}") })
            }
            (ApprovalMode::Auto, None) if self.requesters.of(&request.requester).asks_steward(request.rho) => {
                Decision::AskSteward
            }
            (ApprovalMode::Auto, None) => {
                Decision::Approved(Approved { request: Box::new(request), by: "rule: approve = \"auto\"".into() })
            }
            (ApprovalMode::Manual, None) => Decision::AskSteward,
        }
    }

    /// The rule that a request breaks, if it breaks one.
    pub fn objection(&self, request: &Request) -> Option<Objection> {
        let (mechanism, kind) = (&request.mechanism, request.study.kind);
        if !self.kinds.contains(&Admitted::Studies(kind)) {
            return Some(Objection::Kind { kind, admitted: self.kinds.clone() });
        }
        let participants = request.participants.len();
        if participants < self.min_partners as usize {
            return Some(Objection::Partners { participants, least: self.min_partners });
        }
        let (assumed, n) = (mechanism.colluders(), mechanism.participants());
        let least = self.min_colluders.of(n);
        if assumed < least {
            return Some(Objection::Colluders { participants: n, assumed, least });
        }
        if request.own_numbers && !self.own_numbers {
            return Some(Objection::OwnNumbers);
        }
        // The next ρ is one that the least ε does not allow: budgets are rounded down.
        let (stated, least, delta) = (request.stated, self.min_epsilon, request.delta);
        if stated.plus(Rho::from_micro(1)).epsilon(delta) <= least {
            return Some(Objection::Epsilon { stated, least, delta });
        }
        let (asked, most) = (request.rho, self.per_study);
        (asked > most).then_some(Objection::Cost { asked, most, delta: request.delta })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::privacy::bounds::{Component, Layout};
    use crate::privacy::mechanism::Scope;

    /// A request for one count over data set `d`, with a plan and question of its own.
    pub(crate) fn request(id: &str, question: u8, micro: u64) -> Request {
        let layout = Layout::new(2, 1, 1, vec![Component::Rows { unit: 1 << 30 }]);
        let mechanism = Mechanism::new(layout, Scope::Customer, 3, 1, Rho::from_micro(micro)).unwrap();
        let request = crate::testing::request(&mechanism, &["a", "b", "c"].map(String::from));
        let hash = Some(Digest([question; 32]));
        let study = StudyRef { id: id.into(), plan_sha256: hash, question_sha256: hash, ..request.study };
        Request { study: study.asked_by(&request.requester), ..request }
    }

    pub(crate) fn policy(approve: ApprovalMode) -> Policy {
        let per_study = Rho::from_micro(50_000);
        let (kinds, min_colluders) = (vec![Admitted::Studies(Kind::Query)], MinColluders::Relative);
        let requesters = Requesters::default();
        let (min_partners, own_numbers, min_epsilon) = (2, false, 0.0);
        Policy { approve, kinds, min_partners, min_colluders, own_numbers, per_study, min_epsilon, requesters }
    }

    pub(crate) fn approved(request: Request) -> Approved {
        match policy(ApprovalMode::Auto).decide(request, None) {
            Decision::Approved(approved) => approved,
            _ => panic!("the rules admit it"),
        }
    }

    #[test]
    fn the_steward_decides_where_the_rules_leave_it() {
        let decide =
            |mode, steward: Option<StewardDecision>| policy(mode).decide(request("s", 1, 1000), steward.as_ref());
        let proposal = request("s", 1, 1000).study.proposal_sha256;
        let decision = |verdict| StewardDecision { proposal, by: "ann".into(), verdict };
        let approve = decision(Verdict::Approve);
        let deny = decision(Verdict::Deny("no basis".into()));
        assert!(matches!(decide(ApprovalMode::Manual, None), Decision::AskSteward));
        assert!(
            matches!(decide(ApprovalMode::Manual, Some(approve)), Decision::Approved(a) if a.by() == "steward ann")
        );
        assert!(matches!(decide(ApprovalMode::Auto, None), Decision::Approved(_)));
        assert!(
            matches!(decide(ApprovalMode::Auto, Some(deny)), Decision::Refused(Refusal::Denied { reason, .. }) if reason == "no basis")
        );
    }

    #[test]
    fn what_costs_more_than_a_requester_may_ask_for_without_a_steward_waits_for_one() {
        let limits = |above| Limits { steward_above: Some(Rho::from_micro(above)), ..Limits::default() };
        let named = [("operator".to_owned(), limits(2000))].into();
        let requesters = Requesters { usual: limits(500), named };
        let rules = Policy { requesters, ..policy(ApprovalMode::Auto) };
        let ask = |requester: &str, micro| Request { requester: requester.into(), ..request("s", 1, micro) };
        assert!(matches!(rules.decide(ask("bank", 1000), None), Decision::AskSteward));
        assert!(matches!(rules.decide(ask("operator", 1000), None), Decision::Approved(_)));
        assert!(matches!(rules.decide(ask("operator", 3000), None), Decision::AskSteward));
        let proposal = ask("bank", 1000).study.proposal("bank");
        let steward = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Approve };
        assert!(
            matches!(rules.decide(ask("bank", 1000), Some(&steward)), Decision::Approved(a) if a.by() == "steward ann")
        );
    }

    /// Whatever it is in which the proposal differs from the one that the steward was shown.
    #[test]
    fn an_approval_is_of_what_was_shown_and_of_nothing_else() {
        let shown = request("s", 1, 1000);
        let proposal = shown.study.proposal_sha256;
        let steward = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Approve };
        let decide = |request| policy(ApprovalMode::Manual).decide(request, Some(&steward));
        let (study, requester) = (shown.study.clone(), shown.requester.clone());
        let of = |study: StudyRef| Request { study, ..shown.clone() };
        let others = [
            of(StudyRef { id: "t".into(), ..study.clone() }),
            of(StudyRef { name: "m".into(), ..study.clone() }),
            of(StudyRef { purpose: "sell to whoever pays".into(), ..study.clone() }),
            of(StudyRef { legal_basis: Some(String::new()), ..study.clone() }),
            of(StudyRef { terms_sha256: Digest([9; 32]), ..study.clone() }),
            Request { requester: "somebody else".into(), ..shown.clone() },
        ];
        for other in others {
            assert!(matches!(decide(other.clone()), Decision::AskSteward), "{other:?}");
        }
        let again = StudyRef { attempt: 2, ..study }.asked_by(&requester);
        assert!(matches!(decide(of(again)), Decision::Approved(_)));
    }

    #[test]
    fn rules_refuse_with_the_numbers_and_a_steward_cannot_override_them() {
        let proposal = request("s", 1, 1000).study.proposal_sha256;
        let steward = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Approve };
        let refusal = |change: &dyn Fn(&mut Policy), micro| {
            let mut policy = policy(ApprovalMode::Auto);
            change(&mut policy);
            match policy.decide(request("s", 1, micro), Some(&steward)) {
                Decision::Refused(why) => why.to_string(),
                _ => panic!("must be refused"),
            }
        };
        assert!(refusal(&|p| p.kinds.clear(), 1000).contains("kind query"));
        assert!(refusal(&|p| p.min_partners = 4, 1000).contains("at least 4"));
        assert!(refusal(&|p| p.min_colluders = MinColluders::Absolute(2), 1000).contains("at least 2"));
        let alone = Request { participants: vec!["a".into()], ..request("s", 1, 1000) };
        let why = policy(ApprovalMode::Auto).objection(&alone).unwrap().to_string();
        assert!(why.contains("this partner alone") && why.contains("`min_partners`"), "{why}");
        let asks = Request { own_numbers: true, ..request("s", 1, 1000) };
        let why = policy(ApprovalMode::Auto).objection(&asks).unwrap().to_string();
        assert!(why.contains("`own_numbers = true`"), "{why}");
        let admits = Policy { own_numbers: true, ..policy(ApprovalMode::Auto) };
        assert_eq!(admits.objection(&asks), None);
        let cheap = Request { stated: Rho::within(0.045, 1e-6).unwrap(), ..request("s", 1, 1000) };
        let asks_for_more = Policy { min_epsilon: 0.05, ..policy(ApprovalMode::Auto) };
        let why = asks_for_more.objection(&cheap).unwrap().to_string();
        assert!(why.contains("`min_epsilon`") && why.contains("ε = 0.05"), "{why}");
        for least in [0.01, 0.05, 1.0, 7.3] {
            let at = Request { stated: Rho::within(least, 1e-6).unwrap(), ..request("s", 1, 1000) };
            let policy = Policy { min_epsilon: least, ..policy(ApprovalMode::Auto) };
            assert_eq!(policy.objection(&at), None, "{least}");
        }
        let why = refusal(&|_| (), 60_000);
        assert!(why.contains("0.060000") && why.contains("0.050000"), "{why}");
    }

    /// Never all participants: who is left adds the noise that is charged for.
    #[test]
    fn the_fewest_colluders_follow_the_participants_unless_a_number_is_given() {
        assert_eq!([1, 2, 3, 4, 5, 64].map(|n| MinColluders::Relative.of(n)), [0, 1, 1, 1, 2, 31]);
        assert_eq!([1, 2, 3, 64].map(|n| MinColluders::Absolute(2).of(n)), [0, 1, 2, 2]);
        assert_eq!([2, 64].map(|n| MinColluders::Absolute(0).of(n)), [0, 0]);
    }
}

//! Proposals: a study as a node is asked to take part in it, and what a decision on it is about.
//!
//! ```text
//! terms     = H(what is asked, partners, fewest of them, privacy, wait, everybody's public schema, when it was resumed)
//! proposal  = H(study's identifier, name, purpose, legal basis, requester, terms)
//! ```
//!
//! Both hashes are in every entry of the ledger, so whoever reads it can see that a steward's decision was about this name and
//! purpose ([`StudyRef::proposal`]). Participants sign the second one with their pledges: all were shown the same.
//!
//! What may differ from attempt to attempt is not in it: the attempt's number, what earlier ones have done, and who takes part.
//! [`Proposal::validate`] bounds these by what is: participants are some of the partners, as many as the study asks for at least.

use std::collections::BTreeMap;

use super::parts::Schemas;
use super::{Earlier, Question, Refusal, Study};
use crate::attempt::AttemptId;
use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::identity::petition::{Asking, OPERATOR, Petition};
use crate::identity::{Roster, check_name};
use crate::language::schema::DatasetSchema;
use crate::policy::StudyRef;
use crate::privacy::rho::Rho;

/// The most bytes of a study in its canonical form.
const MAX_STUDY: usize = 256 << 10;
/// The most bytes of all schemas in their canonical form.
pub const MAX_SCHEMAS: usize = 1 << 20;
/// The longest identifier of a study.
const MAX_ID: usize = 100;
/// The most partners.
const MAX_PARTNERS: usize = 1024;

/// A study with its participants, as proposed to a node.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Proposal {
    /// How many rounds earlier attempts have completed; this one goes on behind them.
    pub completed: u32,
    /// What earlier attempts have charged, rounds that were lost included.
    pub spent: Rho,
    /// The study.
    pub study: Study,
    /// All whom it is proposed to, in order: who takes part in any attempt is one of them.
    pub partners: Vec<String>,
    /// Who takes part in this one.
    pub participants: Vec<String>,
    /// Who asks.
    pub requester: String,
    /// The attempt with which the study began, or was resumed after it had ended: then it is decided on again.
    pub begun: u32,
    /// Hash of the public schema of each partner's data set, of those that have it.
    pub schemas: BTreeMap<String, Digest>,
    /// Those schemas.
    pub datasets: BTreeMap<Digest, DatasetSchema>,
    /// The requester's signature, where it is a partner and not the operator. The last field: proposals that were stored before there
    /// was one are read as those without.
    pub petition: Option<Petition>,
}

/// That a requester is in no roster that staff have confirmed, and what they can do.
pub fn unknown(requester: &str) -> String {
    format!(
        "`{requester}` asks for the study, and is not in the roster that is confirmed here; staff compare fingerprints and accept the new \
         roster with `entente-node roster --accept`"
    )
}

impl Schemas for Proposal {
    fn of(&self, participant: &str) -> Option<&DatasetSchema> {
        self.datasets.get(self.schemas.get(participant)?)
    }
}

impl Proposal {
    /// The first attempt of a study that is proposed to these, all of whom take part. Nobody's schema is known yet.
    pub fn first(study: Study, participants: &[String], requester: &str) -> Self {
        let mut partners = participants.to_vec();
        partners.sort();
        Self {
            completed: 0,
            spent: Rho::ZERO,
            study,
            participants: partners.clone(),
            partners,
            requester: requester.into(),
            begun: 1,
            schemas: BTreeMap::new(),
            datasets: BTreeMap::new(),
            petition: None,
        }
    }

    /// The same, with the public schema of the study's data set at each partner that has it.
    #[must_use]
    pub fn over(mut self, schemas: impl IntoIterator<Item = (String, DatasetSchema)>) -> Self {
        (self.schemas, self.datasets) = Default::default();
        for (partner, schema) in schemas {
            let digest = schema.digest();
            self.schemas.insert(partner, digest);
            self.datasets.insert(digest, schema);
        }
        self
    }

    /// How many bytes its schemas take; a node admits [`MAX_SCHEMAS`]. Those that are equal are there once.
    pub fn schemas_size(&self) -> usize {
        canonical_bytes(&self.datasets).len()
    }

    /// What is asked of its participants, as everybody plans it from what is in it.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub fn question(&self) -> Result<Question, Refusal> {
        Question::new(&self.study, self, &self.participants, self.earlier())
    }

    /// What earlier attempts have done.
    pub fn earlier(&self) -> Earlier {
        Earlier { completed: self.completed, spent: self.spent }
    }

    /// Fewest participants of an attempt.
    pub fn min_partners(&self) -> usize {
        self.study.min_partners.map_or(self.partners.len(), |least| least as usize)
    }

    /// Checks sizes, names and texts, which come from a coordinator that need not be trusted: before any of it is stored or shown.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a text that repeats nothing of it.
    pub fn validate(&self, id: &AttemptId) -> Result<(), String> {
        let Self { study, partners, participants, requester, begun, schemas, datasets, .. } = self;
        let is_sign = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=MAX_ID).contains(&id.study.len()) || id.study.starts_with(['-', '_']) || !id.study.chars().all(is_sign)
        {
            return Err(format!("the study's identifier is not 1 to {MAX_ID} letters, digits, `-` and `_`"));
        }
        if !(1..=id.number).contains(begun) {
            return Err("the attempt is numbered below the one with which the study began".into());
        }
        let named = partners.iter().chain(participants).chain(schemas.keys());
        if partners.len() > MAX_PARTNERS
            || participants.len() > MAX_PARTNERS
            || schemas.len() > MAX_PARTNERS
            || named.clone().any(|name| check_name(name).is_err())
        {
            return Err("the proposal names partners that cannot be enrolled".into());
        }
        let ascends = |names: &[String]| names.windows(2).all(|two| two[0] < two[1]);
        if !ascends(partners) || !ascends(participants) {
            return Err("the proposal names a partner twice, or not in order".into());
        }
        if requester.len() > 200 || requester.chars().any(char::is_control) {
            return Err("the requester is not one line of at most 200 bytes".into());
        }
        if canonical_bytes(study).len() > MAX_STUDY {
            return Err(format!("the study is longer than {MAX_STUDY} bytes"));
        }
        if self.schemas_size() > MAX_SCHEMAS {
            return Err(format!("the schemas are longer than {MAX_SCHEMAS} bytes"));
        }
        let is_stated = |(digest, schema): (&Digest, &DatasetSchema)| {
            schema.validate().is_ok() && schema.digest() == *digest && schemas.values().any(|stated| stated == digest)
        };
        if !datasets.iter().all(is_stated) || schemas.values().any(|digest| !datasets.contains_key(digest)) {
            return Err("the schemas are not those whose hashes the proposal states".into());
        }
        study.validate()?;
        let mut stated = study.partners.clone();
        stated.sort();
        if !study.partners.is_empty() && stated != *partners {
            return Err("the study is proposed to others than it names".into());
        }
        if participants.iter().any(|name| partners.binary_search(name).is_err()) {
            return Err("somebody takes part to whom the study is not proposed".into());
        }
        if participants.len() < self.min_partners().max(1) {
            return Err(format!(
                "{} take part; the study asks for at least {} of its {} partners",
                participants.len(),
                self.min_partners(),
                partners.len()
            ));
        }
        Ok(())
    }

    /// What its requester must have signed, in the alliance of this roster.
    pub fn asking<'a>(&'a self, id: &'a AttemptId, roster: &Roster) -> Asking<'a> {
        Asking { authority: roster.authority, id: &id.study, requester: &self.requester }
    }

    /// Checks that whoever is named as its requester has asked for it: a partner by its signature, all else is the operator's.
    ///
    /// # Errors
    ///
    /// Why it is not to be believed that they ask.
    pub fn check_requester(&self, id: &AttemptId, roster: &Roster) -> Result<(), String> {
        let Self { requester, petition, .. } = self;
        match (petition, roster.members.get(requester)) {
            (None, _) if requester == OPERATOR => Ok(()),
            (None, _) => Err(format!(
                "`{requester}` is said to ask for the study and has not signed it; without a partner's signature, only `{OPERATOR}` asks"
            )),
            (Some(_), None) => Err(unknown(requester)),
            (Some(petition), Some(member))
                if petition.study_sha256 == self.study.digest()
                    && petition.verify(&self.asking(id, roster), &member.identity) =>
            {
                Ok(())
            }
            (Some(_), Some(_)) => Err(format!(
                "`{requester}` is said to ask for the study, and its signature is not one of this study under this identifier"
            )),
        }
    }

    /// Hash of what is asked and promised, whoever asks for it and why.
    pub fn terms(&self) -> Digest {
        let Study { name: _, purpose: _, legal_basis: _, partners: _, min_partners: _, wait, privacy, spec } =
            &self.study;
        let least = self.min_partners() as u64;
        Digest::of(
            "entente terms 1",
            &[
                &canonical_bytes(&(spec, privacy, *wait)),
                &canonical_bytes(&(&self.partners, least, self.begun, &self.schemas)),
            ],
        )
    }

    /// The study as policy and ledger see it; without plan and question, which take a schema.
    pub fn study_ref(&self, id: &AttemptId) -> StudyRef {
        let Study { name, purpose, legal_basis, spec, .. } = &self.study;
        let study = StudyRef {
            id: id.study.clone(),
            attempt: id.number,
            name: name.clone(),
            purpose: purpose.clone(),
            legal_basis: legal_basis.clone(),
            kind: spec.kind(),
            plan_sha256: None,
            question_sha256: None,
            terms_sha256: self.terms(),
            proposal_sha256: Digest::ZERO,
        };
        study.asked_by(&self.requester)
    }

    /// Whether it is the same study as another, and so may be a further attempt of it.
    pub fn continues(&self, other: &Self) -> bool {
        let Self { study, partners, requester, petition, .. } = self;
        (study, partners, requester, petition) == (&other.study, &other.partners, &other.requester, &other.petition)
    }

    /// What a decision on it is about: the same in all attempts of a study.
    pub fn digest(&self, id: &AttemptId) -> Digest {
        self.study_ref(id).proposal_sha256
    }
}

//! Study files: what an operator writes, parsed once into a [`Study`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::lookalike::{self, LookalikeSpec};
use super::plans::score::{CANDIDATES, OUTPUTS, Output};
use super::query::QuerySpec;
use super::seeded::{Seeded, Stated};
use super::train::{self, TrainSpec, Weight};
use super::{LOST_ATTEMPTS, Study, StudySpec, Terms};
use crate::config::{self, ConfigError};
use crate::kind::Kind;
use crate::learn::options::Options;
use crate::lookalike::model::PublicModel;
use crate::privacy::mechanism::Scope;
use crate::privacy::rho::Rho;
use crate::reason::Reason;

/// The longest file that is read.
const MAX_LENGTH: usize = 256 * 1024;
/// How long an attempt waits for a partner unless the study says otherwise.
const DEFAULT_WAIT_SECONDS: u32 = 600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    purpose: String,
    kind: Kind,
    legal_basis: Option<String>,
    #[serde(default)]
    partners: Vec<String>,
    min_partners: Option<u32>,
    wait_seconds: Option<u32>,
    privacy: Privacy,
    query: Option<Query>,
    train: Option<Train>,
    lookalike: Option<Lookalike>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Privacy {
    epsilon: f64,
    delta: f64,
    #[serde(default = "customer")]
    scope: Scope,
    colluders: Option<u32>,
    #[serde(default = "lost_attempts")]
    lost_attempts: u32,
}

fn lost_attempts() -> u32 {
    LOST_ATTEMPTS
}

fn customer() -> Scope {
    Scope::Customer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
    max_groups_per_customer: Option<u32>,
    max_rows_per_customer: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Train {
    model: String,
    features: String,
    target: Option<String>,
    weight: Option<String>,
    holdout: Option<f64>,
    evaluation: Option<f64>,
    #[serde(default)]
    per_partner: bool,
    rounds: Option<u32>,
    clip: Option<f64>,
    bins: Option<u32>,
    clusters: Option<u32>,
    regularisation: Option<f64>,
    pairs: Option<u32>,
    #[serde(default)]
    monotone: BTreeMap<String, Direction>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookalike {
    seed_partner: String,
    model: Option<String>,
    seeds: Option<String>,
    method: Option<String>,
    seeds_epsilon: Option<f64>,
    candidate_partners: Vec<String>,
    features: String,
    output: Option<String>,
    buckets: Option<u32>,
    segment: Option<String>,
    leave_out: Option<String>,
    candidates: Option<u64>,
}

/// A lookalike study by where its model comes from.
enum Source {
    File(LookalikeSpec),
    Seeds(Stated),
}

impl Lookalike {
    fn output(&self) -> Result<Output, Reason> {
        match self.output.as_deref().unwrap_or(OUTPUTS[0]) {
            "scores" if self.buckets.is_some() => Err(Reason::from("`buckets` is for `output = \"buckets\"`")
                .help("scores have none, so leave one of them out")),
            "scores" => Ok(Output::Scores),
            "buckets" => Ok(Output::Buckets(self.buckets.unwrap_or(lookalike::BUCKETS))),
            other => Err(lookalike::unknown_output(other)),
        }
    }

    fn source(self, model: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Source, Reason> {
        let output = self.output()?;
        let Self {
            seed_partner, method, seeds_epsilon: epsilon, candidate_partners, features, segment, leave_out, ..
        } = self;
        let candidates = self.candidates.unwrap_or(match output {
            Output::Scores => CANDIDATES,
            Output::Buckets(_) => lookalike::BUCKETED,
        });
        match (self.model, self.seeds) {
            (Some(_), None) if method.is_some() || epsilon.is_some() => {
                Err(Reason::from("`method` and `seeds_epsilon` say how `seeds` are learnt")
                    .help("with `model`, leave them out"))
            }
            (Some(name), None) => {
                let bytes = model(&name).map_err(|problem| format!("`model`: {problem}"))?;
                let (model, _) = PublicModel::of(&bytes).map_err(|problem| problem.of(&name).at("`model`"))?;
                Ok(Source::File(LookalikeSpec {
                    seed_partner,
                    model,
                    candidate_partners,
                    features,
                    segment,
                    leave_out,
                    candidates,
                    output,
                }))
            }
            (None, Some(_)) if leave_out.is_some() => {
                let help = "leave it out: seeds are excluded in any case, where their own partner is among `candidate_partners`";
                Err(Reason::from("`leave_out` goes with `model`").help(help))
            }
            (None, Some(seeds)) => Ok(Source::Seeds(Stated {
                seed_partner,
                seeds,
                method,
                epsilon,
                candidate_partners,
                features,
                segment,
                candidates,
                output,
            })),
            (Some(_), Some(_)) => Err(Reason::from("[lookalike] has both `model` and `seeds`")
                .help("a given model needs no seeds; leave one of them out")),
            (None, None) => {
                Err("[lookalike] has neither `model`, the file of a model that the seed partner holds, nor \
                                 `seeds`, a query of the customers to train one from"
                    .into())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Rising,
    Falling,
}

impl Train {
    fn spec(self) -> TrainSpec {
        let Self { model, features, target, weight, holdout, evaluation, per_partner, .. } = self;
        let weight = weight.map(|column| Weight { column, events: false });
        let monotone = self.monotone.into_iter().map(|(name, way)| (name, matches!(way, Direction::Rising)));
        let options = Options {
            rounds: self.rounds,
            clip: self.clip,
            bins: self.bins,
            clusters: self.clusters,
            regularisation: self.regularisation,
            pairs: self.pairs,
            monotone: monotone.collect(),
            seed: self.seed,
        };
        TrainSpec { model, features, target, weight, holdout, evaluation, per_partner, options }
    }
}

/// What a study file asks for.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum Asked {
    /// One study.
    Study(Box<Study>),
    /// A lookalike study, and the training of its model before it.
    Seeded(Box<Seeded>),
}

/// Parses the study file `file` with content `text`, of a study that names no model file.
pub fn parse(file: &str, text: &str) -> Result<Study, ConfigError> {
    parse_with(file, text, |_| Err("is a file, and files are not read here".into()))
}

/// Parses the study file `file` with content `text`, of one study. `model` reads a model file that the study names; its error
/// says what is wrong.
pub fn parse_with(
    file: &str,
    text: &str,
    model: impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Study, ConfigError> {
    match parse_asked(file, text, model)? {
        Asked::Study(study) => Ok(*study),
        Asked::Seeded(_) => {
            let problem = Reason::from("a lookalike study with `seeds` is two studies, and one is expected here")
                .help("train the model first, and name its file as `model`");
            Err(ConfigError { file: file.into(), reason: problem })
        }
    }
}

/// Parses any study file, as [`parse_with`] does that of one study.
pub fn parse_asked(
    file: &str,
    text: &str,
    model: impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Asked, ConfigError> {
    let fail = |reason: Reason| Err(ConfigError { file: file.into(), reason });
    if text.len() > MAX_LENGTH {
        return fail(format!("is longer than {MAX_LENGTH} bytes; a study file is a few lines").into());
    }
    // The kind first: a file of a kind that this version lacks has keys it cannot know.
    let kind = toml::from_str::<toml::Table>(text).ok().and_then(|table| Some(table.get("kind")?.as_str()?.to_owned()));
    if let Some(kind) = kind.filter(|kind| kind.parse::<Kind>().is_err()) {
        return fail(unavailable(&kind));
    }
    let parsed: File = config::parse(file, text)?;
    let File { name, purpose, kind, legal_basis, mut partners, min_partners, wait_seconds, privacy, .. } = parsed;
    let Privacy { epsilon, delta, scope, colluders, lost_attempts } = privacy;
    // A budget that makes no sense has no ρ; `validate` says what is wrong with it.
    let rho = Rho::within(epsilon, delta).unwrap_or(Rho::ZERO);
    let (mut seeds, mut default_wait) = (None, DEFAULT_WAIT_SECONDS);
    let spec = match (kind, parsed.query, parsed.train, parsed.lookalike) {
        (Kind::Query, Some(Query { sql, max_groups_per_customer, max_rows_per_customer }), None, None) => {
            StudySpec::Query(QuerySpec { sql, max_groups: max_groups_per_customer, max_rows: max_rows_per_customer })
        }
        (Kind::Train, None, Some(train), None) if !train::MODELS.contains(&train.model.as_str()) => {
            return fail(train::unknown_model(&train.model));
        }
        (Kind::Train, None, Some(train), None) => StudySpec::Train(Box::new(train.spec())),
        (Kind::Lookalike, None, None, Some(lookalike)) => {
            let problem = |reason: Reason| ConfigError { file: file.into(), reason };
            let (participants, spec) = match lookalike.source(model).map_err(problem)? {
                Source::File(spec) => {
                    default_wait += spec.output.seconds(spec.candidates);
                    (spec.participants(), StudySpec::Lookalike(Box::new(spec)))
                }
                Source::Seeds(stated) => {
                    default_wait += stated.output.seconds(stated.candidates);
                    let training =
                        StudySpec::Train(Box::new(stated.training().map_err(|words| problem(words.into()))?));
                    (seeds.insert(stated).participants(), training)
                }
            };
            if partners.is_empty() {
                partners = participants;
            }
            spec
        }
        (Kind::Query, ..) => return fail("a study of kind query has a table [query] with `sql`, and no other".into()),
        (Kind::Train, ..) => {
            return fail("a study of kind train has a table [train] with `model` and `features`, and no other".into());
        }
        (Kind::Lookalike, ..) => {
            let needs = "a study of kind lookalike has a table [lookalike] with `seed_partner`, `model` or `seeds`, \
                         `candidate_partners` and `features`, and no other";
            return fail(needs.into());
        }
    };
    let study = Study {
        name,
        purpose,
        legal_basis,
        partners,
        min_partners,
        wait: wait_seconds.unwrap_or(default_wait),
        privacy: Terms { epsilon, delta, rho, scope, colluders, lost_attempts },
        spec,
    };
    let asked = match seeds {
        Some(stated) => Seeded::new(study, stated).map(|seeded| Asked::Seeded(Box::new(seeded))),
        None => study.validate().map(|()| Asked::Study(Box::new(study))),
    };
    asked.or_else(fail)
}

fn unavailable(kind: &str) -> Reason {
    let names = Kind::names();
    let reason =
        Reason::from(format!("studies of kind `{kind}` are not available in this version, which has: {names}"));
    config::suggesting(reason, kind, Kind::all().map(Kind::name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "spend-by-region"
purpose = "Quarterly benchmark of the alliance"
kind = "query"
partners = ["retailer", "bank", "telecom"]
[privacy]
epsilon = 1.0
delta = 1e-6
[query]
sql = "SELECT COUNT(*) FROM customers"
"#;

    #[test]
    fn a_study_file_becomes_a_study() {
        let study = parse("s.toml", GOOD).unwrap();
        assert_eq!(study.partners.len(), 3);
        assert!(study.privacy.rho.epsilon(1e-6) <= 1.0);
        assert_eq!(study.privacy.scope, Scope::Customer);
        assert_eq!([2, 3, 4, 5, 7].map(|n| study.privacy.colluders_of(n)), [1, 1, 1, 2, 3]);
        assert_eq!(study.privacy.colluders_of(1), 0);
    }

    #[test]
    fn a_lookalike_study_names_a_model_file_that_is_read() {
        let text = GOOD.replace("kind = \"query\"", "kind = \"lookalike\"");
        let text = text.split("[query]").next().unwrap_or_default().to_owned()
            + "[lookalike]\nseed_partner = \"retailer\"\nmodel = \"m.json\"\ncandidate_partners = [\"telecom\"]\n\
               features = \"SELECT id, age FROM customers\"\n";
        let problem = |text: &str, model: Result<&[u8], &str>| {
            let read = |_: &str| model.map(<[u8]>::to_vec).map_err(String::from);
            parse_with("s.toml", text, read).unwrap_err().to_string()
        };
        assert!(problem(&text, Err("m.json is not there")).contains("m.json is not there"));
        assert!(problem(&text, Ok(b"{}")).contains("`model`: m.json is not a model file"));
        let buckets = format!("{text}output = \"bukets\"\n");
        assert!(problem(&buckets, Ok(b"{}")).contains("no output `bukets`"));
        assert!(problem(&format!("{text}buckets = 4\n"), Ok(b"{}")).contains("`output = \"buckets\"`"));
        let both = format!("{text}seeds = \"SELECT id FROM customers WHERE gold\"\n");
        assert!(problem(&both, Ok(b"{}")).contains("both `model` and `seeds`"));
        assert!(problem(&text.replace("model = \"m.json\"\n", ""), Ok(b"{}")).contains("neither `model`"));
        assert!(problem(&format!("{text}method = \"additive\"\n"), Ok(b"{}")).contains("`method`"));
        let none = text.replace("[lookalike]", "[query]\nsql = \"\"\n[lookalike]");
        assert!(problem(&none, Ok(b"{}")).contains("a table [lookalike]"));
    }

    #[test]
    fn mistakes_are_named_with_what_to_write() {
        let cases = [
            ("purpose = \"Quarterly benchmark of the alliance\"", "", "purpose"),
            ("kind = \"query\"", "kind = \"qery\"", "did you mean `query`"),
            ("kind = \"query\"", "kind = \"match\"", "not available in this version"),
            ("kind = \"query\"", "kind = \"train\"", "a table [train]"),
            ("epsilon = 1.0", "epsilon = 0", "`epsilon`"),
            ("epsilon = 1.0", "epsilon = 1.0\nepsilom = 2", "did you mean `epsilon`"),
            ("delta = 1e-6", "delta = 0.5", "`delta`"),
            ("\"bank\"", "\"retailer\"", "twice"),
            ("\"bank\"", "\"Bank\"", "cannot be a name"),
            ("kind = \"query\"", "kind = \"query\"\nmin_partners = 4", "`min_partners`"),
            ("[query]\nsql = \"SELECT COUNT(*) FROM customers\"", "", "[query]"),
            ("sql = ", "sqll = ", "did you mean `sql`"),
        ];
        for (good, bad, expected) in cases {
            let text = GOOD.replace(good, bad);
            assert_ne!(text, GOOD, "{good}");
            let error = parse("s.toml", &text).unwrap_err().to_string();
            assert!(error.starts_with("s.toml") && error.contains(expected), "{bad}: {error}");
        }
    }
}

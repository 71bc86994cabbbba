//! A lookalike study that names seeds instead of a model: its model is trained first, by the seed partner alone.
//!
//! ```text
//! [lookalike] with `seeds` ─▶ Seeded ─▶ training: a study of kind `train` with one participant
//!                                └──(its model)──▶ lookalike: a study as if the file had named `model`
//! ```
//!
//! They are two studies, each approved, charged and answered as one of its kind: the training to the seed partner's ledger,
//! the reach to the candidates' owners'. With one participant there is nobody to share noise with, so the training's is the
//! seed partner's own, all of it, and its charge covers that the coordinator sees that partner's sums.

use std::collections::BTreeMap;

use super::lookalike::{self, LookalikeSpec, WEIGHT, check_parties};
use super::plans::score::Output;
use super::train::{TrainSpec, Weight};
use super::{Study, StudySpec, Terms};
use crate::config::nearest;
use crate::language::rows::RowsPlan;
use crate::language::schema::DatasetSchema;
use crate::language::sql::{self, LabelRefusal};
use crate::learn::options::Options;
use crate::lookalike::model::PublicModel;
use crate::privacy::rho::Rho;
use crate::reason::Reason;

/// The models that can be trained for it.
pub const METHODS: [&str; 2] = ["additive", "logistic"];
/// What the model predicts, as its features query calls it.
pub const TARGET: &str = "is_seed";

/// What a study file states, beside what every study has.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Stated {
    /// The partner whose customers the seeds are.
    pub seed_partner: String,
    /// The seeds query.
    pub seeds: String,
    /// One of [`METHODS`]; `None` for the first.
    pub method: Option<String>,
    /// ε of the training; `None` for the study's.
    pub epsilon: Option<f64>,
    /// The partners whose customers are scored.
    pub candidate_partners: Vec<String>,
    /// The features query.
    pub features: String,
    /// The column by whose values the reach is split, if it is.
    pub segment: Option<String>,
    /// The most candidates of one partner.
    pub candidates: u64,
    /// What is opened of their scores.
    pub output: Output,
}

/// A lookalike study whose model is still to be trained.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Seeded {
    stated: Stated,
    training: Study,
    partners: Vec<String>,
    min_partners: Option<u32>,
    privacy: Terms,
}

impl Stated {
    /// The training that it comes to.
    ///
    /// # Errors
    ///
    /// If there is no such method, or the two queries do not go together.
    pub fn training(&self) -> Result<TrainSpec, String> {
        let model = self.method.as_deref().unwrap_or(METHODS[0]);
        if !METHODS.contains(&model) {
            let near = nearest(model, METHODS.into_iter());
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(format!("`method` is `{model}`; seeds are learnt by: {}{near}", METHODS.join(", ")));
        }
        let labelled = sql::labelled(&self.features, &self.seeds, TARGET, WEIGHT);
        let (features, valued) = labelled.map_err(|refusal: LabelRefusal| refusal.to_string())?;
        Ok(TrainSpec {
            model: model.into(),
            features,
            target: Some(TARGET.into()),
            weight: valued.then(|| Weight { column: WEIGHT.into(), events: true }),
            holdout: None,
            evaluation: None,
            per_partner: false,
            options: Options::default(),
        })
    }

    /// The seed partner, then the candidates' partners.
    pub fn participants(&self) -> Vec<String> {
        lookalike::participants(&self.seed_partner, &self.candidate_partners)
    }
}

impl Seeded {
    /// The two studies that `study`, which has the training as its kind and all else as the file states it, comes to.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn new(study: Study, stated: Stated) -> Result<Self, Reason> {
        check_parties(&stated.seed_partner, &stated.candidate_partners, &study.partners)?;
        study.validate()?;
        let Study { partners, min_partners, privacy, .. } = study.clone();
        let epsilon = stated.epsilon.unwrap_or(privacy.epsilon);
        let rho = Rho::within(epsilon, privacy.delta).filter(|rho| epsilon <= 100.0 && *rho != Rho::ZERO);
        let rho = rho.ok_or_else(|| {
            Reason::from(format!("`seeds_epsilon` is {epsilon}"))
                .help("write a number above 0 (and at most 100, which protects little)")
        })?;
        let training = Study {
            partners: vec![stated.seed_partner.clone()],
            min_partners: None,
            privacy: Terms { epsilon, rho, colluders: None, ..privacy.clone() },
            ..study
        };
        training.validate()?;
        Ok(Self { stated, training, partners, min_partners, privacy })
    }

    /// The training, by the seed partner alone.
    pub fn training(&self) -> &Study {
        &self.training
    }

    /// The seed partner and the candidates' partners.
    pub fn participants(&self) -> Vec<String> {
        self.stated.participants()
    }

    /// The lookalike study, with the content of the model file that the training gave.
    ///
    /// # Errors
    ///
    /// If candidates cannot be scored with the model.
    pub fn lookalike(&self, model: &[u8]) -> Result<Study, String> {
        let (model, _) = PublicModel::of(model).map_err(|problem| format!("the model of the seeds {problem}"))?;
        let Stated { seed_partner, seeds, candidate_partners, features, segment, candidates, output, .. } =
            self.stated.clone();
        // Whoever is a seed, whatever it counts.
        let leave_out = candidate_partners.contains(&seed_partner).then_some(seeds);
        let spec =
            LookalikeSpec { seed_partner, model, candidate_partners, features, segment, leave_out, candidates, output };
        let study = Study {
            partners: self.partners.clone(),
            min_partners: self.min_partners,
            privacy: self.privacy.clone(),
            spec: StudySpec::Lookalike(Box::new(spec)),
            ..self.training.clone()
        };
        study.validate()?;
        Ok(study)
    }

    /// What is known from public schemas before the seed partner is charged for a model, as notes.
    ///
    /// # Errors
    ///
    /// What is wrong: a query; no such data set; or a candidates' owner that declares its columns otherwise, for
    /// whose customers the model would be none.
    pub fn check(&self, schemas: &BTreeMap<String, Vec<DatasetSchema>>) -> Result<Vec<String>, String> {
        let Stated { seed_partner, seeds, candidate_partners, segment, .. } = &self.stated;
        let (schema, rows) = self
            .rows(schemas, seed_partner)?
            .ok_or_else(|| format!("`{seed_partner}` has not connected yet, so nothing is known of its data"))?;
        let shared = sql::shared(seeds, &rows, schema).map_err(|refusal| format!("`seeds`: {refusal}"))?;
        let mut notes: Vec<String> = shared
            .iter()
            .map(|name| {
                format!(
                    "`{name}` is a feature and part of the condition for seeds as well: the model may learn that condition \
                     and little else; leave `{name}` out of `features` to find who is like the seeds otherwise"
                )
            })
            .collect();
        for partner in candidate_partners {
            let theirs = self.rows(schemas, partner)?;
            if let (Some((theirs, _)), Some(name)) = (&theirs, segment) {
                lookalike::segment(name, theirs).map_err(|refusal| format!("{refusal}, at `{partner}`"))?;
            }
            match theirs {
                Some((_, theirs)) if theirs == rows => {}
                Some((theirs, _)) => {
                    return Err(format!(
                        "data set `{}` at `{partner}` declares columns of `features` otherwise than at `{seed_partner}`; \
                         agree on one declaration: entente partners shows both",
                        theirs.name
                    ));
                }
                None => notes
                    .push(format!("`{partner}` has not connected yet, so it is not known whether it has the features")),
            }
        }
        Ok(notes)
    }

    /// A partner's schema, with the plan of the features query over it; `None` where nothing is known of the partner.
    fn rows<'s>(
        &self,
        schemas: &'s BTreeMap<String, Vec<DatasetSchema>>,
        partner: &str,
    ) -> Result<Option<(&'s DatasetSchema, RowsPlan)>, String> {
        let words = |refusal: sql::Refusal| format!("`features`: {refusal}");
        let Some(published) = schemas.get(partner) else { return Ok(None) };
        let dataset = sql::dataset_name(&self.stated.features).map_err(words)?;
        let schema = DatasetSchema::named(published.iter(), &dataset);
        let schema = schema.ok_or_else(|| format!("`{partner}` has no data set `{dataset}`"))?;
        let rows = sql::rows(&self.stated.features, schema).map_err(words)?;
        Ok(Some((schema, rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::language::schema::ColumnType;
    use crate::study::Question;
    use crate::study::file::{Asked, parse_asked, parse_with};
    use crate::study::parts::Work;

    const GOOD: &str = r#"
name = "like-gold"
purpose = "Who is like our best customers?"
kind = "lookalike"
[privacy]
epsilon = 0.5
delta = 1e-6
colluders = 0
[lookalike]
seed_partner = "retailer"
seeds = "SELECT id FROM customers WHERE tier = 'gold'"
candidate_partners = ["telecom"]
features = "SELECT id, age, active FROM customers WHERE age >= 20"
"#;

    fn asked(text: &str) -> Result<Seeded, String> {
        let asked = parse_asked("s.toml", text, |_| Err("is not read".into())).map_err(|error| error.to_string())?;
        match asked {
            Asked::Seeded(seeded) => Ok(*seeded),
            Asked::Study(_) => Err("one study".into()),
        }
    }

    fn schema(change: impl Fn(&mut DatasetSchema)) -> Vec<DatasetSchema> {
        let tiers = ColumnType::Category { values: vec!["gold".into(), "silver".into()] };
        let mut schema = DatasetSchema {
            name: "customers".into(),
            privacy_unit: "id".into(),
            columns: [
                ("age".into(), ColumnType::Int { min: Some(18), max: Some(95) }),
                ("active".into(), ColumnType::Bool),
                ("tier".into(), tiers),
            ]
            .into(),
        };
        change(&mut schema);
        vec![schema]
    }

    fn schemas(change: impl Fn(&mut DatasetSchema)) -> BTreeMap<String, Vec<DatasetSchema>> {
        [("retailer".to_owned(), schema(|_| ())), ("telecom".to_owned(), schema(change))].into()
    }

    /// The seed partner is alone, with all of the noise; the target is the condition; what is stated for the candidates'
    /// reach stays there.
    #[test]
    fn the_training_is_the_seed_partners_alone() {
        let seeded = asked(GOOD).unwrap();
        let training = seeded.training();
        assert_eq!((training.partners.as_slice(), training.spec.kind()), (&["retailer".to_owned()][..], Kind::Train));
        assert_eq!((training.name.as_str(), training.privacy.epsilon), ("like-gold", 0.5));
        let question = Question::new(training, &schema(|_| ())[0], &training.partners, 0).unwrap();
        assert_eq!((question.mechanism().participants(), question.mechanism().colluders()), (1, 0));
        let Work::Rounds(plan) = question.work() else { panic!("a training's plan") };
        assert_eq!(plan.target, Some(2));
        assert!(plan.training.evaluation.is_some(), "a lookalike study needs how scores lie");
        let features: Vec<&str> = plan.training.recipe.features.iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!(features, ["age", "active"]);
        let more = format!("{GOOD}method = \"logistic\"\nseeds_epsilon = 2.0\n");
        let more = asked(&more).unwrap();
        assert_eq!(more.training().privacy.epsilon, 2.0);
        assert!(matches!(&more.training().spec, StudySpec::Train(train) if train.model == "logistic"));
        assert_eq!(more.privacy.epsilon, 0.5);
        assert!(more.lookalike(b"{}").unwrap_err().contains("is not a model file"));
    }

    /// A second column weighs seeds, and no one else, by its declared maximum.
    #[test]
    fn seeds_may_say_how_much_they_count() {
        let valued = asked(&GOOD.replace("SELECT id FROM", "SELECT id, age FROM")).unwrap();
        let question = Question::new(valued.training(), &schema(|_| ())[0], &valued.training().partners, 0).unwrap();
        let Work::Rounds(plan) = question.work() else { panic!("a training's plan") };
        let features: Vec<&str> = plan.training.recipe.features.iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!((features, plan.target, plan.weight), (vec!["age", "active"], Some(2), Some((3, true))));
        assert!(valued.check(&schemas(|_| ())).is_ok());
        let swapped = asked(&GOOD.replace("SELECT id FROM", "SELECT age, id FROM")).unwrap();
        assert!(swapped.check(&schemas(|_| ())).unwrap_err().contains("comes first"));
    }

    #[test]
    fn mistakes_are_named_with_what_to_write() {
        let cases = [
            ("WHERE tier = 'gold'", "", "`seeds`: line 1"),
            ("SELECT id FROM customers WHERE tier", "SELECT id FROM clients WHERE tier", "Write FROM customers"),
            ("epsilon = 0.5", "epsilon = 0", "`epsilon`"),
            ("[\"telecom\"]", "[\"retailer\"]", "the seed partner alone"),
            ("[lookalike]", "[lookalike]\nleave_out = \"SELECT id FROM customers WHERE active\"", "seeds are excluded"),
            ("kind =", "partners = [\"retailer\"]\nkind =", "`partners`"),
            ("[lookalike]", "[lookalike]\nmethod = \"aditive\"", "did you mean `additive`"),
            ("[lookalike]", "[lookalike]\nmethod = \"kmeans\"", "seeds are learnt by"),
            ("[lookalike]", "[lookalike]\nseeds_epsilon = 0", "`seeds_epsilon` is 0"),
            ("[lookalike]", "[lookalike]\nseeds_epsilon = nan", "`seeds_epsilon` is NaN"),
            ("[lookalike]", "[lookalike]\noutput = \"bukets\"", "no output `bukets`"),
        ];
        for (good, bad, expected) in cases {
            let error = asked(&GOOD.replace(good, bad)).unwrap_err();
            assert!(error.starts_with("s.toml: ") && error.contains(expected), "{bad}: {error}");
        }
        let one = parse_with("s.toml", GOOD, |_| Err("is not read".into())).unwrap_err().to_string();
        assert!(one.contains("two studies"), "{one}");
    }

    #[test]
    fn schemas_tell_beforehand_what_would_come_too_late() {
        let check = |text: &str, change: &dyn Fn(&mut DatasetSchema)| asked(text).unwrap().check(&schemas(change));
        assert_eq!(check(GOOD, &|_| ()), Ok(vec![]));
        assert_eq!(check(GOOD, &|schema| drop(schema.columns.remove("tier"))), Ok(vec![]), "candidates have no seeds");
        let shared = check(&GOOD.replace("tier = 'gold'", "age > 60 AND tier = 'gold'"), &|_| ()).unwrap();
        assert!(shared.len() == 1 && shared[0].starts_with("`age` is a feature"), "{shared:?}");
        let cases: [(&str, &str, &str); 3] = [
            ("tier = 'gold'", "tier = 'golden'", "`seeds`: line 1"),
            ("SELECT id FROM customers WHERE", "SELECT age FROM customers WHERE", "privacy unit `id`"),
            ("SELECT id, age,", "SELECT id, agee,", "`features`: line 1"),
        ];
        for (good, bad, expected) in cases {
            let problem = check(&GOOD.replace(good, bad), &|_| ()).unwrap_err();
            assert!(problem.contains(expected), "{bad}: {problem}");
        }
        let bounds = |schema: &mut DatasetSchema| {
            schema.columns.insert("age".into(), ColumnType::Int { min: Some(0), max: Some(95) });
        };
        assert!(check(GOOD, &bounds).unwrap_err().contains("`telecom` declares columns"));
        assert!(check(GOOD, &|schema| schema.name = "clients".into()).unwrap_err().contains("no data set `customers`"));
        let segment = GOOD.replace("[lookalike]", "[lookalike]\nsegment = \"teir\"");
        let problem = check(&segment, &|_| ()).unwrap_err();
        assert!(problem.contains("did you mean `tier`") && problem.contains("`telecom`"), "{problem}");
        let seeded = asked(GOOD).unwrap();
        let known = BTreeMap::from([("retailer".to_owned(), schema(|_| ()))]);
        assert!(seeded.check(&known).unwrap()[0].contains("`telecom` has not connected"));
        assert!(seeded.check(&BTreeMap::new()).unwrap_err().contains("`retailer` has not connected"));
    }
}

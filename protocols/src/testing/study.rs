//! Study files as tests write them: what they are about is said, the rest is as always.

use toml::{Table, Value};

use crate::config::ConfigError;
use crate::privacy::mechanism::Scope;
use crate::privacy::rho::Rho;
use crate::study::file::{self, Asked};
use crate::study::lookalike::LookalikeSpec;
use crate::study::seeded::Seeded;
use crate::study::{Study, StudySpec, Terms};

const FILE: &str = "test.toml";

/// A study file that is being written. Becomes its text, or what is made of it.
#[derive(Clone, Debug)]
pub struct Draft {
    top: Table,
    privacy: Table,
    kind: &'static str,
    /// The table of its kind.
    body: Table,
}

/// A study of this name, of ε = 1 and δ = 10⁻⁶. What it asks is still to be said: [`Draft::sql`], [`Draft::train`] or
/// [`Draft::lookalike`].
pub fn study(name: &str) -> Draft {
    let draft = Draft { top: Table::new(), privacy: Table::new(), kind: "query", body: Table::new() };
    draft.key("name", name).key("purpose", "test").epsilon(1.0).delta(1e-6)
}

/// A lookalike study whose model needs no file, for all whom it is about: of ε = 1 and δ = 10⁻⁶, without room for lost attempts.
pub fn lookalike(spec: LookalikeSpec) -> Study {
    Study {
        name: "n".into(),
        purpose: "p".into(),
        legal_basis: None,
        partners: spec.participants(),
        min_partners: None,
        wait: 60,
        privacy: Terms {
            epsilon: 1.0,
            delta: 1e-6,
            rho: Rho::within(1.0, 1e-6).expect("a budget"),
            scope: Scope::Customer,
            colluders: None,
            lost_attempts: 0,
        },
        spec: StudySpec::Lookalike(Box::new(spec)),
    }
}

impl Draft {
    /// A query, of one row and one group a customer.
    #[must_use]
    pub fn sql(self, sql: &str) -> Self {
        self.query(sql).rows(1).groups(1)
    }

    /// A query that states no limits.
    #[must_use]
    pub fn query(self, sql: &str) -> Self {
        self.of("query").with("sql", sql)
    }

    /// The most rows of a customer that a query counts.
    #[must_use]
    pub fn rows(self, most: u32) -> Self {
        self.with("max_rows_per_customer", most)
    }

    /// The most groups that a customer of a query is in.
    #[must_use]
    pub fn groups(self, most: u32) -> Self {
        self.with("max_groups_per_customer", most)
    }

    /// A training.
    #[must_use]
    pub fn train(self, model: &str, features: &str) -> Self {
        self.of("train").with("model", model).with("features", features)
    }

    /// A lookalike study. The model is that of [`Draft::build_with`], or one of `seeds`.
    #[must_use]
    pub fn lookalike(self, seed_partner: &str, candidates: &[&str], features: &str) -> Self {
        let draft = self.of("lookalike").with("seed_partner", seed_partner);
        draft.with("candidate_partners", candidates.to_vec()).with("features", features)
    }

    /// A key of the table of its kind.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.into(), value.into());
        self
    }

    /// A key of its top level.
    #[must_use]
    pub fn key(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.top.insert(key.into(), value.into());
        self
    }

    /// Its purpose.
    #[must_use]
    pub fn purpose(self, purpose: &str) -> Self {
        self.key("purpose", purpose)
    }

    /// The partners that are asked; all unless this is said.
    #[must_use]
    pub fn partners(self, partners: &[&str]) -> Self {
        self.key("partners", partners.to_vec())
    }

    /// How many are enough.
    #[must_use]
    pub fn min_partners(self, fewest: u32) -> Self {
        self.key("min_partners", fewest)
    }

    /// How long an attempt waits for a partner.
    #[must_use]
    pub fn wait_seconds(self, seconds: u32) -> Self {
        self.key("wait_seconds", seconds)
    }

    /// ε.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        self.promise("epsilon", epsilon)
    }

    /// δ.
    #[must_use]
    pub fn delta(self, delta: f64) -> Self {
        self.promise("delta", delta)
    }

    /// How many partners may collude.
    #[must_use]
    pub fn colluders(self, colluders: u32) -> Self {
        self.promise("colluders", colluders)
    }

    /// For how many lost attempts there is room in its budget.
    #[must_use]
    pub fn lost_attempts(self, most: u32) -> Self {
        self.promise("lost_attempts", most)
    }

    /// Protects a person who is a customer of all partners.
    #[must_use]
    pub fn for_persons(self) -> Self {
        self.promise("scope", "person")
    }

    fn promise(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.privacy.insert(key.into(), value.into());
        self
    }

    fn of(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self.key("kind", kind)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut file = self.top.clone();
        file.insert("privacy".into(), self.privacy.clone().into());
        let mut body = self.body.clone();
        if self.kind == "lookalike" && !body.contains_key("seeds") {
            body.insert("model".into(), "model.json".into());
        }
        file.insert(self.kind.into(), body.into());
        file.to_string()
    }

    /// The study.
    pub fn build(&self) -> Result<Study, ConfigError> {
        file::parse(FILE, &self.text())
    }

    /// The study by a model, which is the file that it names.
    pub fn build_with(&self, model: &[u8]) -> Result<Study, ConfigError> {
        file::parse_with(FILE, &self.text(), |_| Ok(model.to_vec()))
    }

    /// The two studies of a model that is trained from seeds first.
    pub fn build_seeded(&self) -> Result<Seeded, ConfigError> {
        match file::parse_asked(FILE, &self.text(), |_| Err("is not read".into()))? {
            Asked::Seeded(seeded) => Ok(*seeded),
            Asked::Study(_) => Err(ConfigError { file: FILE.into(), reason: "names no seeds".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::mechanism::Scope;
    use crate::study::StudySpec;

    #[test]
    fn what_was_said_is_in_the_study_and_sql_needs_no_care() {
        let sql = "SELECT \"a b\", COUNT(*) AS n FROM t WHERE c <> 'x\"''y' GROUP BY 1";
        let draft = study("a \"name\"").sql(sql).groups(3).partners(&["a", "b"]).min_partners(1).wait_seconds(7);
        let built = draft.epsilon(2.0).colluders(1).for_persons().build().unwrap();
        assert_eq!((built.name.as_str(), built.purpose.as_str()), ("a \"name\"", "test"));
        assert_eq!((built.partners.len(), built.min_partners, built.wait), (2, Some(1), 7));
        assert_eq!((built.privacy.epsilon, built.privacy.colluders), (2.0, Some(1)));
        assert_eq!(built.privacy.scope, Scope::Person);
        let StudySpec::Query(query) = built.spec else { panic!("a query") };
        assert_eq!((query.sql.as_str(), query.max_rows, query.max_groups), (sql, Some(1), Some(3)));
    }

    #[test]
    fn each_kind_is_written_as_it_is_read() {
        let train = study("t").train("additive", "SELECT id, a, y FROM t").with("target", "y").with("rounds", 2);
        let StudySpec::Train(spec) = train.build().unwrap().spec else { panic!("a training") };
        assert_eq!((spec.target.as_deref(), spec.options.rounds), (Some("y"), Some(2)));
        let like = study("l").lookalike("a", &["b"], "SELECT id, a FROM t");
        assert!(like.build().unwrap_err().to_string().contains("`model`"), "its model is a file");
        let seeded = like.with("seeds", "SELECT id FROM t WHERE y").build_seeded().unwrap();
        assert_eq!(seeded.training().partners, ["a"]);
        assert!(train.build_seeded().is_err());
    }
}

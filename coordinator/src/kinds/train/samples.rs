//! Hand-made models for tests.

use entente_protocols::digest::Digest;
use entente_protocols::learn::file::{Budget, FORMAT, ModelFile, Provenance, VERSION};
use entente_protocols::learn::model::Model;
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;

/// The file of a model.
pub(crate) fn file(model: Model) -> ModelFile {
    ModelFile {
        format: FORMAT.into(),
        version: VERSION,
        study: Provenance {
            id: "s-0001".into(),
            name: "churn".into(),
            purpose: "Whom to write to".into(),
            plan_sha256: Digest([7; 32]),
        },
        participants: vec!["bank".into(), "retailer".into()],
        privacy: Budget {
            scope: Scope::Customer,
            epsilon: 1.0,
            delta: 1e-6,
            rho: Rho::from_micro(20_000),
            rho_person: Rho::from_micro(80_000),
            colluders: 1,
        },
        metrics: [("auc".to_owned(), Estimate { value: 0.75, low: 0.7, high: 0.8 })].into(),
        transcript_sha256: Digest::ZERO,
        receipt_sha256: None,
        score_shares: Vec::new(),
        model,
    }
}

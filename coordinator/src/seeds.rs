//! Lookalike studies that name seeds: the training of their model, then the study with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use entente_host::Error;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::study::file::Asked;
use entente_protocols::study::seeded::Seeded;

use crate::client::{Client, Update, served};
use crate::views::{CheckView, Files};

/// How long is waited for the seed partner to connect where nobody serves.
const CONNECTING: Duration = Duration::from_secs(10);

/// What the training of the seeds' model would cost, and who must approve it, with what can be told of the lookalike study
/// before there is a model.
pub async fn check_seeded(dir: &Path, seeded: &Seeded, enough: Duration) -> Result<CheckView, Error> {
    let training = seeded.training();
    let checks = async {
        let mut view = Client::connect(dir).await?.check(training.clone()).await?;
        match seeded.check(&schemas(dir).await?) {
            Ok(notes) => view.notes.extend(notes),
            Err(problem) => {
                view.refused = true;
                view.problem.get_or_insert(problem);
            }
        }
        view.notes.push(
            "this is the training of the seeds' model alone; what the lookalike study costs the candidates' owners, and whether \
             they admit it, can be checked when the model is there, with a study file that names it as `model`"
                .into(),
        );
        Ok(view)
    };
    served(dir, Some((training, enough)), checks).await
}

/// Trains the model of the seeds, and runs the lookalike study with it to its result. `on_model` is given the training's
/// result in between. The coordinator takes one after the other, whether anybody follows them or not.
///
/// Run again, it asks for the same training, which the seed partner's node answers from what it has stored, at no charge. The
/// model's file has a new identifier then, but is of the same model, so that the lookalike study is the same question, and its
/// answer is stored as well.
pub async fn run_seeded(
    dir: &Path,
    seeded: &Seeded,
    on_progress: impl FnMut(Update),
    on_model: impl FnMut(&Files) -> Result<(), Error>,
) -> Result<Files, Error> {
    let asked = Asked::Seeded(Box::new(seeded.clone()));
    let both = async { Client::connect(dir).await?.run_asked(asked, on_progress, on_model).await };
    served(dir, Some((seeded.training(), CONNECTING)), both).await
}

/// The public schemas of the partners that have ever connected.
async fn schemas(dir: &Path) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error> {
    let view = Client::connect(dir).await?.partners().await?;
    let seen = view.partners.into_iter().filter(|partner| partner.since.is_some());
    Ok(seen.map(|partner| (partner.name, partner.datasets)).collect())
}

//! The operator's side of the link: requests to the running coordinator.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::moment;
use entente_host::link::{Frames, LinkError};
use entente_protocols::study::Study;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromOperator, Progress, REHEARSAL, ToOperator};

use crate::coordinator::{Coordinator, TakeUp};
use crate::hall::alliance::Alliance;
use crate::hall::serving;
use crate::link::dial::Line;
use crate::views::{CheckView, Files, PartnersView, StudyView};

/// How long connecting may take: the coordinator runs on this machine.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to the running coordinator, for one request.
pub struct Client(Line);

/// What [`run_study`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The study is accepted under this identifier.
    Accepted(String),
    /// Where it stands; comes when something has changed.
    Progress(Progress),
}

impl Client {
    /// Connects to the coordinator of the alliance in `dir`; refused if it does not run.
    pub async fn connect(dir: &Path) -> Result<Self, Error> {
        let alliance = Alliance::open(dir)?;
        let address = serving::running(dir)?.ok_or_else(|| {
            Error::refused(format!("the coordinator of {} is not running", dir.display()))
                .help(format!("start it: entente serve --dir {}", dir.display()))
        })?;
        Self::connect_to(&alliance, address).await
    }

    async fn connect_to(alliance: &Alliance, address: SocketAddr) -> Result<Self, Error> {
        let unreachable = |why: String| {
            Error::failed(format!("the coordinator at {address} could not be reached: {why}"))
                .help("its log may say more")
        };
        let dialling = Line::dial(alliance, address, unreachable);
        let line = tokio::time::timeout(CONNECT, dialling)
            .await
            .map_err(|_| unreachable(format!("no answer in {} s", CONNECT.as_secs())))??;
        Ok(Self(line))
    }

    /// Who is enrolled and connected.
    pub async fn partners(self) -> Result<PartnersView, Error> {
        match self.ask(FromOperator::Partners).await? {
            ToOperator::Partners(json) => read(&json),
            other => Err(unexpected(&other)),
        }
    }

    /// What a study would cost, and who must approve.
    pub async fn check(self, study: Study) -> Result<CheckView, Error> {
        match self.ask(FromOperator::Check { study }).await? {
            ToOperator::Checked(json) => read(&json),
            other => Err(unexpected(&other)),
        }
    }

    /// The result of a study over invented rows, file by file.
    pub async fn rehearse(self, study: Study) -> Result<Files, Error> {
        self.until_result(FromOperator::Rehearse { study }, Some(REHEARSAL.into()), |_| (), |_| Ok(())).await
    }

    /// All studies, oldest first.
    pub async fn studies(self) -> Result<Vec<StudyView>, Error> {
        match self.ask(FromOperator::List).await? {
            ToOperator::Studies(json) => read(&json),
            other => Err(unexpected(&other)),
        }
    }

    /// One study.
    pub async fn show(self, id: &str) -> Result<StudyView, Error> {
        match self.ask(FromOperator::Show(id.into())).await? {
            ToOperator::Studies(json) => {
                let mut studies: Vec<StudyView> = read(&json)?;
                studies.pop().ok_or_else(|| Error::failed("the coordinator answered nothing"))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Gives a study up. What was done, in words.
    pub async fn cancel(self, id: &str) -> Result<String, Error> {
        self.order(FromOperator::Cancel(id.into())).await
    }

    /// Takes a study up again. What was done, in words.
    pub async fn resume(self, id: &str) -> Result<String, Error> {
        self.order(FromOperator::Resume(id.into())).await
    }

    /// Ends a partner's certificate. What was done, in words.
    pub async fn revoke(self, partner: &str) -> Result<String, Error> {
        self.order(FromOperator::Revoke(partner.into())).await
    }

    /// Ends an alarm, with what was found. What was done, in words.
    pub async fn acknowledge(self, alarm: i64, note: &str) -> Result<String, Error> {
        self.order(FromOperator::Acknowledge { alarm, note: note.into() }).await
    }

    /// Submits a study and does not wait. Its identifier.
    pub async fn submit(self, study: Study) -> Result<String, Error> {
        self.submit_asked(Asked::Study(Box::new(study))).await
    }

    /// Submits what a study file asks and does not wait. Its identifier.
    pub async fn submit_asked(self, asked: Asked) -> Result<String, Error> {
        match self.ask(FromOperator::Run { asked, follow: false }).await? {
            ToOperator::Accepted(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Submits a study and follows it to its result.
    pub async fn run(self, study: Study, on_progress: impl FnMut(Update)) -> Result<Files, Error> {
        self.run_asked(Asked::Study(Box::new(study)), on_progress, |_| Ok(())).await
    }

    /// Submits what a study file asks and follows it to its result. Of studies that follow one another, `on_leg` is given the
    /// results of all but the last; they go on whatever becomes of whoever follows.
    pub async fn run_asked(
        self,
        asked: Asked,
        on_progress: impl FnMut(Update),
        on_leg: impl FnMut(&Files) -> Result<(), Error>,
    ) -> Result<Files, Error> {
        self.until_result(FromOperator::Run { asked, follow: true }, None, on_progress, on_leg).await
    }

    /// Follows a study that was submitted before to its result.
    pub async fn follow(self, id: &str, on_progress: impl FnMut(Update)) -> Result<Files, Error> {
        self.follow_legs(id, on_progress, |_| Ok(())).await
    }

    /// The same; `on_leg` is as in [`Client::run_asked`].
    pub async fn follow_legs(
        self,
        id: &str,
        on_progress: impl FnMut(Update),
        on_leg: impl FnMut(&Files) -> Result<(), Error>,
    ) -> Result<Files, Error> {
        self.until_result(FromOperator::Follow(id.into()), Some(id.into()), on_progress, on_leg).await
    }

    async fn order(self, request: FromOperator) -> Result<String, Error> {
        match self.ask(request).await? {
            ToOperator::Done(words) => Ok(words),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(self, request: FromOperator) -> Result<ToOperator, Error> {
        let mut answers = self.send(&request).await?;
        let answer = next(&mut answers).await;
        self.0.end().await;
        answer
    }

    async fn until_result(
        self,
        request: FromOperator,
        mut followed: Option<String>,
        mut on_progress: impl FnMut(Update),
        mut on_leg: impl FnMut(&Files) -> Result<(), Error>,
    ) -> Result<Files, Error> {
        let mut answers = self.send(&request).await?;
        let mut files = Files::new();
        let end = loop {
            match next(&mut answers).await {
                Ok(ToOperator::Accepted(id)) => {
                    followed = Some(id.clone());
                    on_progress(Update::Accepted(id));
                }
                Ok(ToOperator::Progress(progress)) => on_progress(Update::Progress(progress)),
                Ok(ToOperator::Piece { file, mut bytes }) => files.entry(file).or_default().append(&mut bytes),
                Ok(ToOperator::Result(id)) if followed.as_ref() == Some(&id) => break Ok(files),
                Ok(ToOperator::Result(_)) => {
                    if let Err(error) = on_leg(&std::mem::take(&mut files)) {
                        break Err(error);
                    }
                }
                Ok(other) => break Err(unexpected(&other)),
                Err(error) => break Err(error),
            }
        };
        self.0.end().await;
        end
    }

    async fn send(&self, request: &FromOperator) -> Result<Frames, Error> {
        let lost = |error: LinkError| Error::failed(format!("the connection to the coordinator was lost: {error}"));
        self.0.ask(&frame::encode(request)).await.map_err(lost)
    }
}

async fn next(answers: &mut Frames) -> Result<ToOperator, Error> {
    let lost = |error: LinkError| {
        Error::failed(format!("the connection to the coordinator was lost ({error})"))
            .help("a running study continues when the coordinator does; see entente study list")
    };
    let frame = answers.next().await.map_err(lost)?.ok_or_else(|| lost(LinkError::Ended))?;
    match frame.decode().map_err(|error| lost(error.into()))? {
        ToOperator::Refused(reason) => Err(Error::Refused(reason)),
        ToOperator::Failed(reason) => Err(Error::Failed(reason)),
        answer => Ok(answer),
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        Error::failed(format!("the coordinator's answer cannot be read ({error})")).help("is it another version?")
    })
}

fn unexpected(answer: &ToOperator) -> Error {
    let name = match answer {
        ToOperator::Partners(_) => "partners",
        ToOperator::Checked(_) => "a check",
        ToOperator::Accepted(_) => "that a study is accepted",
        ToOperator::Progress(_) => "progress",
        ToOperator::Piece { .. } => "a piece of a result",
        ToOperator::Result(_) => "a result",
        ToOperator::Studies(_) => "studies",
        ToOperator::Done(_) => "that it is done",
        ToOperator::Shown { .. } => "what a partner sees",
        ToOperator::Refused(reason) | ToOperator::Failed(reason) => &reason.problem,
    };
    Error::failed(format!("the coordinator answered something other than was asked: {name}"))
}

/// Runs a study of the alliance in `dir` to its result: with the coordinator if it runs, else serving for the length of
/// the study. If the latter is stopped, the study waits for the next `entente serve`.
pub async fn run_study(dir: &Path, study: Study, on_progress: impl FnMut(Update)) -> Result<Files, Error> {
    served(dir, None, async { Client::connect(dir).await?.run(study, on_progress).await }).await
}

/// What a study would cost, and who must approve: with the coordinator if it runs, else serving until the partners that
/// the study names (or `enough` time) are there.
pub async fn check_study(dir: &Path, study: Study, enough: Duration) -> Result<CheckView, Error> {
    served(dir, Some((&study.clone(), enough)), async { Client::connect(dir).await?.check(study).await }).await
}

/// The result of a study over invented rows of the schemas that partners have published: with the coordinator if it runs, else serving
/// until the partners that the study names (or `enough` time) are there.
pub async fn rehearse_study(dir: &Path, study: Study, enough: Duration) -> Result<Files, Error> {
    served(dir, Some((&study.clone(), enough)), async { Client::connect(dir).await?.rehearse(study).await }).await
}

/// Does `work` with the coordinator of the alliance in `dir` if it runs, else serving for its length: then not before the
/// partners that a study names (or so much time) are there, if one is given.
pub(crate) async fn served<T>(
    dir: &Path,
    partners: Option<(&Study, Duration)>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    if serving::running(dir)?.is_some() {
        return work.await;
    }
    let running = Coordinator::start_with(dir, TakeUp::Nothing).await?;
    if let Some((study, enough)) = partners {
        let begun = moment();
        while !running.has_all(study)? && moment().since(begun) < enough {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let result = work.await;
    running.shutdown().await;
    result
}

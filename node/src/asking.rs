//! Studies that this partner asks for: requests to the coordinator, on a connection beside the node's own, whether that runs or not.
//!
//! ```text
//! study file ─▶ Study ─▶ identifier, petition (signed by this node's identity) ─▶ coordinator ─▶ all who take part verify it
//!                                                          result, file by file ◀─┘
//! ```
//!
//! A study goes on whether its requester is connected or not, and its result is kept at the coordinator: a command that is interrupted
//! loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::now;
use entente_host::link::{Dialled, Frames, LinkError, send};
use entente_host::random::random;
use entente_protocols::identity::petition::{Asking, Petition, identifier};
use entente_protocols::study::Study;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{FromRequester, Progress, ToOperator};

use crate::config::Config;
use crate::link::{dial_any, resolve, tls};
use crate::state::Folder;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest result, all files together.
const MAX_RESULT: usize = 1 << 30;
/// How much may wait to be read: a result comes at once.
const WINDOW: u32 = 16 << 20;

/// A partner, as it asks the coordinator.
pub struct Requester {
    folder: Folder,
    name: String,
    coordinator: String,
}

/// A signed study, ready to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The study.
    pub study: Study,
    /// Its identifier.
    pub id: String,
    /// This partner's signature.
    pub petition: Petition,
}

/// What the coordinator shows of studies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As JSON.
    pub json: String,
    /// For people.
    pub text: String,
    /// Whether something speaks against running the study.
    pub refused: bool,
}

/// A study's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Its files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Its table, for people.
    pub text: String,
}

/// What is told while a study goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is accepted under this identifier.
    Accepted(String),
    /// Where it stands.
    Progress(Progress),
}

impl Requester {
    /// The partner whose node is in `folder`, as that is configured.
    pub fn new(folder: &Folder, config: Config) -> Self {
        Self { folder: folder.clone(), name: config.name, coordinator: config.coordinator }
    }

    /// Signs a study, under an identifier that is drawn now.
    ///
    /// # Errors
    ///
    /// If the keys of this node cannot be read.
    pub fn sign(&self, study: Study) -> Result<Asked, Error> {
        let (now, random) = (now(), random()?);
        let id = identifier(now, random);
        let (authority, requester) = (self.folder.authority()?, self.name.as_str());
        let asking = Asking { authority, id: &id, requester };
        let petition = Petition::sign(&asking, study.digest(), now.as_second(), &self.folder.identity()?);
        Ok(Asked { study, id, petition })
    }

    /// What a study would cost at each partner, and who would have to approve it.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub async fn check(&self, study: Study) -> Result<Shown, Error> {
        self.shown(&FromRequester::Check { study }).await
    }

    /// The result of a study over invented rows of the schemas that partners have published; nobody is asked.
    ///
    /// # Errors
    ///
    /// If it cannot be asked, or is of a kind that is not rehearsed.
    pub async fn rehearse(&self, study: Study) -> Result<Delivered, Error> {
        self.until_result(&FromRequester::Rehearse { study }, |_| ()).await
    }

    /// Asks for a study and does not wait. Its identifier.
    ///
    /// # Errors
    ///
    /// If it is refused, or the coordinator cannot be reached.
    pub async fn submit(&self, asked: Asked) -> Result<String, Error> {
        let Asked { study, id, petition } = asked;
        match self.ask(&FromRequester::Run { study, id, petition, follow: false }).await? {
            ToOperator::Accepted(id) => Ok(id),
            _ => Err(unexpected()),
        }
    }

    /// Asks for a study and follows it to its result.
    ///
    /// # Errors
    ///
    /// As [`Self::submit`]; or if it ends without a result.
    pub async fn run(&self, asked: Asked, on_progress: impl FnMut(Update)) -> Result<Delivered, Error> {
        let Asked { study, id, petition } = asked;
        self.until_result(&FromRequester::Run { study, id, petition, follow: true }, on_progress).await
    }

    /// Follows a study that was asked for before to its result.
    ///
    /// # Errors
    ///
    /// If this partner has asked for no such study, or it ends without a result.
    pub async fn follow(&self, id: &str, on_progress: impl FnMut(Update)) -> Result<Delivered, Error> {
        self.until_result(&FromRequester::Follow(id.into()), on_progress).await
    }

    /// All studies that this partner has asked for.
    ///
    /// # Errors
    ///
    /// If the coordinator cannot be reached.
    pub async fn list(&self) -> Result<Shown, Error> {
        self.shown(&FromRequester::List).await
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// If there is none, or the coordinator cannot be reached.
    pub async fn show(&self, id: &str) -> Result<Shown, Error> {
        self.shown(&FromRequester::Show(id.into())).await
    }

    /// Gives one of them up. What was done, in words.
    ///
    /// # Errors
    ///
    /// If there is none, or it has ended.
    pub async fn cancel(&self, id: &str) -> Result<String, Error> {
        match self.ask(&FromRequester::Cancel(id.into())).await? {
            ToOperator::Done(words) => Ok(words),
            _ => Err(unexpected()),
        }
    }

    async fn shown(&self, request: &FromRequester) -> Result<Shown, Error> {
        match self.ask(request).await? {
            ToOperator::Shown { json, text, refused } => Ok(Shown { json, text, refused }),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, request: &FromRequester) -> Result<ToOperator, Error> {
        let line = self.dial().await?;
        let answer = async { next(&mut send_on(&line, request).await?).await };
        let answer = answer.await;
        line.end().await;
        answer?.ok_or_else(|| lost(&LinkError::Ended))
    }

    async fn until_result(
        &self,
        request: &FromRequester,
        mut on_progress: impl FnMut(Update),
    ) -> Result<Delivered, Error> {
        let line = self.dial().await?;
        let (mut delivered, mut size, mut is_complete) = (Delivered::default(), 0usize, false);
        let ended = async {
            let mut answers = send_on(&line, request).await?;
            while let Some(answer) = next(&mut answers).await? {
                match answer {
                    ToOperator::Accepted(id) => on_progress(Update::Accepted(id)),
                    ToOperator::Progress(progress) => on_progress(Update::Progress(progress)),
                    ToOperator::Piece { file, mut bytes } => {
                        size = size.saturating_add(bytes.len());
                        if size > MAX_RESULT {
                            return Err(Error::failed(format!("the result is longer than {MAX_RESULT} bytes")));
                        }
                        delivered.files.entry(file).or_default().append(&mut bytes);
                    }
                    ToOperator::Result(_) => is_complete = true,
                    ToOperator::Shown { text, .. } => delivered.text = text,
                    _ => return Err(unexpected()),
                }
            }
            if is_complete { Ok(()) } else { Err(lost(&LinkError::Ended)) }
        };
        let ended = ended.await;
        line.end().await;
        ended.map(|()| delivered)
    }

    async fn dial(&self) -> Result<Dialled, Error> {
        let config = tls::asking(&self.folder)?;
        let unreachable = |error: LinkError| {
            Error::failed(format!("the coordinator at {} could not be reached: {error}", self.coordinator))
                .help("entente-node check says what is in the way")
        };
        let addresses = resolve(&self.coordinator).await.map_err(unreachable)?;
        let dialled = dial_any(&config, addresses, CONNECT).await.map_err(unreachable)?;
        dialled.connection().set_receive_window(WINDOW.into());
        Ok(dialled)
    }
}

async fn send_on(line: &Dialled, request: &FromRequester) -> Result<Frames, Error> {
    let opened = async {
        let (mut out, into) = line.connection().open_bi().await?;
        send(&mut out, &frame::encode(request)).await?;
        // Fails where the stream is gone already, which reading finds.
        let _ = out.finish();
        Ok(Frames::new(into, FrameReader::to_operators()))
    };
    opened.await.map_err(|error: LinkError| lost(&error))
}

/// The next answer, if there is one more.
async fn next(answers: &mut Frames) -> Result<Option<ToOperator>, Error> {
    let Some(frame) = answers.next().await.map_err(|error| lost(&error))? else { return Ok(None) };
    match frame.decode().map_err(|error| lost(&error.into()))? {
        ToOperator::Refused(reason) => Err(Error::Refused(reason)),
        ToOperator::Failed(reason) => Err(Error::Failed(reason)),
        answer => Ok(Some(answer)),
    }
}

fn lost(error: &LinkError) -> Error {
    Error::failed(format!("the connection to the coordinator was lost ({error})"))
        .help("a study that was accepted goes on; entente-node study list shows it, and study show ID --out writes its result")
}

fn unexpected() -> Error {
    Error::failed("the coordinator answered something other than was asked").help("is it of another version?")
}

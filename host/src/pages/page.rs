//! The page of a daemon: where it is served, and what opens it.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{info, warn};

use super::access::Access;
use super::serve::bind;
use crate::error::Error;

/// A page that a daemon serves for its staff.
pub struct Page {
    /// What it is called, such as "the review page".
    pub name: &'static str,
    /// Where it is served; `None` where it is off.
    pub address: Option<SocketAddr>,
    /// The folder of its tokens.
    pub keys: PathBuf,
    /// What sets its address, and where, as in `"review in [node] of node.toml"`.
    pub setting: &'static str,
    /// An address as an example.
    pub example: &'static str,
    /// The command that prints how to open it.
    pub opens: &'static str,
}

impl Page {
    /// Serves the page until the future is dropped. Where it is off or cannot be served, the daemon works all the same: this never ends.
    /// `title` is what the login calls it.
    pub async fn serve(&self, title: &str, pages: impl FnOnce() -> Result<Router, Error>) -> Infallible {
        if let Some(address) = self.address
            && let Err(error) = self.serve_at(address, title, pages).await
        {
            let Self { name, setting, .. } = self;
            warn!(%address, %error, "{name} is not served; set {setting} to a free address, or \"off\"");
        }
        std::future::pending().await
    }

    async fn serve_at(
        &self,
        address: SocketAddr,
        title: &str,
        pages: impl FnOnce() -> Result<Router, Error>,
    ) -> Result<(), Error> {
        let bound = bind(address).await.map_err(failed)?;
        let access = Access::open(&self.keys).map_err(failed)?;
        let pages = pages()?;
        info!(address = %bound.address(), "{} is served; {} prints how to open it", self.name, self.opens);
        bound.serve(access, title, pages).await.map_err(failed)
    }

    /// The address that opens it, token included.
    ///
    /// # Errors
    ///
    /// If it is off, or its token can be neither read nor made.
    pub fn url(&self) -> Result<String, Error> {
        let Self { name, setting, example, .. } = self;
        let off =
            || Error::refused(format!("{name} is off")).help(format!("set {setting}, for example to \"{example}\""));
        let address = self.address.ok_or_else(off)?;
        Ok(Access::open(&self.keys).map_err(failed)?.url(address))
    }
}

fn failed(error: impl Display) -> Error {
    Error::failed(error.to_string())
}

/// Does what blocks for an answer; the error is the answer that says what is wrong.
pub async fn read<T: Send + 'static>(read: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Response> {
    let (status, words) = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(error)) if error.exit_code() == 1 => (StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a fault in this program; please report it".to_owned()),
    };
    Err((status, words + "\n").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(address: Option<SocketAddr>, keys: PathBuf) -> Page {
        let (setting, example, opens) = ("`page` in a.toml", "127.0.0.1:8080", "a page");
        Page { name: "the page", address, keys, setting, example, opens }
    }

    #[test]
    fn what_opens_a_page_has_its_address_and_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let url = page("127.0.0.1:80".parse().ok(), folder.path().into()).url().unwrap();
        let again = page("127.0.0.1:80".parse().ok(), folder.path().into()).url().unwrap();
        assert!(url.starts_with("http://127.0.0.1:80/login?token=") && url == again, "{url}");
        let off = page(None, folder.path().into()).url().unwrap_err();
        assert_eq!(off.exit_code(), 1);
        assert!(off.to_string().contains("the page is off"), "{off}");
    }

    #[tokio::test]
    async fn an_answer_tells_a_mistake_from_a_failure() {
        assert_eq!(read(|| Ok(1)).await.unwrap(), 1);
        let status = async |error: fn() -> Error| read(move || Err::<(), _>(error())).await.unwrap_err().status();
        assert_eq!(status(|| Error::refused("no such day")).await, StatusCode::BAD_REQUEST);
        assert_eq!(status(|| Error::failed("the disk is gone")).await, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

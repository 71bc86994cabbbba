//! Serving: on loopback, to whoever is logged in, with headers that keep a page to itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::access::Access;
use super::look::{self, STYLE};

/// The cookie's name.
const COOKIE: &str = "entente_session";
/// Nothing but the page's own style, and its login's form.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A listener on loopback.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens on an address of loopback.
///
/// # Errors
///
/// If the address is not loopback, or is already in use.
pub async fn bind(address: SocketAddr) -> io::Result<Bound> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a page is served on loopback alone"));
    }
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

struct Guard {
    access: Access,
    title: String,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Shown {
    token: Option<String>,
    /// Which page is wanted.
    to: Option<String>,
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `pages` to whoever is logged in, and `/metrics` among them to anyone who presents the token of monitoring systems; until the future is
    /// dropped. `title` is what the login's page calls it.
    ///
    /// # Errors
    ///
    /// If the listener fails.
    pub async fn serve(self, access: Access, title: &str, pages: Router) -> io::Result<()> {
        let guard = Arc::new(Guard { access, title: title.into(), address: self.address });
        let style = || async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) };
        let login = Router::new()
            .route("/login", get(login_by_link).post(login_by_form))
            .route("/style.css", get(style))
            .with_state(guard.clone());
        let pages = pages.layer(middleware::from_fn_with_state(guard.clone(), logged_in));
        let all = pages.merge(login).layer(middleware::from_fn_with_state(guard, kept_to_itself));
        axum::serve(self.listener, all).await
    }
}

/// Whoever is not logged in gets the form.
async fn logged_in(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let metrics = request.uri().path() == "/metrics";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if session(headers).is_some_and(|value| guard.access.is_session(value))
        || (metrics && bearer.is_some_and(|token| guard.access.is_machine(token)))
    {
        return next.run(request).await;
    }
    if metrics {
        return (StatusCode::UNAUTHORIZED, "show the token in metrics.token as Authorization: Bearer\n")
            .into_response();
    }
    (StatusCode::UNAUTHORIZED, Html(look::login(&guard.title, false).into_string())).into_response()
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// Whatever page it is: GET alone, of this host alone, and headers.
async fn kept_to_itself(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    // A name that somebody else's domain server makes this machine's address would have browsers show the page to their scripts.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = guard.address.port();
    let known =
        [guard.address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let is_form = request.method() == Method::POST && request.uri().path() == "/login";
    let mut response = if !known.iter().any(|known| known == host) {
        (StatusCode::MISDIRECTED_REQUEST, "this is another host\n").into_response()
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_form {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "these pages are read-only\n").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn login_by_link(State(guard): State<Arc<Guard>>, Query(shown): Query<Shown>) -> Response {
    match shown.token {
        Some(token) => login(&guard, &token, shown.to.as_deref()),
        None => Html(look::login(&guard.title, false).into_string()).into_response(),
    }
}

async fn login_by_form(State(guard): State<Arc<Guard>>, Form(shown): Form<Shown>) -> Response {
    login(&guard, shown.token.unwrap_or_default().trim(), shown.to.as_deref())
}

/// The token does not stay in the browser's history: what is seen next has another address.
fn login(guard: &Guard, token: &str, to: Option<&str>) -> Response {
    // Of this host: no address begins like this but a path's.
    let local = |to: &&str| {
        to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    let to = to.filter(local).unwrap_or("/").to_owned();
    match guard.access.log_in(token) {
        None => (StatusCode::UNAUTHORIZED, Html(look::login(&guard.title, true).into_string())).into_response(),
        Some(session) => {
            let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict");
            (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, to)]).into_response()
        }
    }
}

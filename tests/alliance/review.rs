//! The review page of a node, over real HTTP, and in a real browser where there is one: `ENTENTE_BROWSER` names it, else `chromium` is
//! looked for. With `ENTENTE_NEEDS_BROWSER` set it must be there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use entente_host::pages::Access;
use entente_node::review::{Review, router};
use entente_node::state::Folder;
use entente_protocols::ledger::Act;
use entente_protocols::ledger::verify::verify_export;
use entente_testing::{Draft, Error, SETTINGS, World, last_study, study};
use serde_json::Value;

/// A page that is served.
pub struct Page {
    pub address: SocketAddr,
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer: its status, its head in lower case, its body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Page {
    async fn of(folder: &Folder) -> Result<Self, Error> {
        let review = Arc::new(Review::open(folder, entente_node::load(folder)?)?);
        let verifying = review.clone();
        tokio::task::spawn_blocking(move || verifying.verify()).await?;
        Self::serve(&folder.state_folder(), router(review)).await
    }

    pub async fn serve(tokens: &Path, pages: axum::Router) -> Result<Self, Error> {
        let bound = entente_host::pages::bind("127.0.0.1:0".parse()?).await?;
        let (address, access) = (bound.address(), Access::open(tokens)?);
        let url = access.url(address);
        let task = tokio::spawn(async move { drop(bound.serve(access, "test", pages).await) });
        Ok(Self { address, url, task })
    }

    /// One request, as it stands, with a Host of this page unless there is one.
    pub async fn ask(&self, line: &str, headers: &[&str]) -> Result<Answer, Error> {
        let host = format!("Host: {}", self.address);
        let own = headers.iter().any(|header| header.starts_with("Host:"));
        let headers = headers.iter().copied().chain((!own).then_some(host.as_str()));
        let text: String = headers
            .fold(format!("{line} HTTP/1.1\r\nConnection: close\r\n"), |text, header| text + header + "\r\n")
            + "\r\n";
        let address = self.address;
        let answer = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, std::io::Error> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(text.as_bytes())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        });
        let answer = String::from_utf8(answer.await??)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("a head")?;
        let status = head.split(' ').nth(1).ok_or("a status")?.parse()?;
        Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    /// The cookie of a new session, as a header.
    pub async fn log_in(&self) -> Result<String, Error> {
        let path = self.url.split_once(&self.address.to_string()).ok_or("a path")?.1;
        let answer = self.ask(&format!("GET {path}"), &[]).await?;
        assert_eq!(answer.status, 303, "{}", answer.head);
        assert!(answer.head.contains("httponly") && answer.head.contains("samesite=strict"), "{}", answer.head);
        let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).ok_or("a cookie")?;
        Ok(format!("Cookie: {}", cookie.split(';').next().unwrap_or_default()))
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Result<String, Error> {
        let answer = self.ask(&format!("GET {path}"), &[cookie]).await?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        Ok(answer.body)
    }
}

fn asked(name: &str, age: u32) -> Draft {
    let sql = format!("SELECT COUNT(*) AS n FROM clients WHERE age > {age}");
    study(name).sql(&sql).purpose("Who <b>could</b> be reached?")
}

/// An alliance with a result, a repeat, a refusal and what officers did.
async fn world() -> Result<World, Error> {
    let small = SETTINGS.replace("epsilon = 10.0", "epsilon = 1.6").replace("4.0", "1.0");
    let world = World::with(|_| small.clone()).await?;
    for (name, age) in [("first", 30), ("again", 30), ("second", 40)] {
        world.run(asked(name, age).build()?).await?;
    }
    world.refusal(asked("too-much", 50).build()?).await?;
    world
        .open_ledger("bank")?
        .note(2, Act { officer: "ann", reason: "seen by the board", now: "2026-01-01T00:00:00Z" })?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_sees_the_ledger_and_nobody_else_does() -> Result<(), Error> {
    let world = world().await?;
    let folder = world.folder("bank");
    let page = Page::of(&folder).await?;
    // Nobody without the token, from another host's name, or to change anything.
    for path in [
        "/",
        "/studies/x",
        "/officers",
        "/ledger.jsonl",
        "/studies.csv",
        "/report?from=2026-01-01&to=2026-01-01",
        "/metrics",
    ] {
        for cookie in ["Cookie: entente_session=", "Cookie: other=1", "Authorization: Bearer x"] {
            let answer = page.ask(&format!("GET {path}"), &[cookie]).await?;
            assert!(answer.status == 401 && !answer.body.contains("clients"), "{path}: {}", answer.status);
            assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
        }
    }
    assert_eq!(page.ask("GET /login?token=guess", &[]).await?.status, 401);
    let cookie = page.log_in().await?;
    assert_eq!(page.ask("GET /", &["Host: evil.example", &cookie]).await?.status, 421);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = page.ask(&format!("{method} /"), &[&cookie, "Content-Length: 0"]).await?;
        assert_eq!(answer.status, 405, "{method}");
    }
    let away = format!("GET /login?to=//evil.example&token={}", page.url.rsplit('=').next().unwrap_or_default());
    let answer = page.ask(&away, &[]).await?;
    assert!(answer.head.lines().any(|line| line == "location: /"), "no way to elsewhere: {}", answer.head);

    let overview = page.get("/", &cookie).await?;
    let entries = world.ledger("bank")?;
    let account = last_study(&entries)?.account.clone();
    for expected in [
        format!("all {} entries follow", entries.len()),
        account.spent_after.to_string(),
        "first".into(),
        "too-much".into(),
        "the lifetime budget".into(),
    ] {
        assert!(overview.contains(&expected), "{expected}: {overview}");
    }
    assert!(!overview.contains("<b>could") && !overview.contains("<script"), "everything is escaped");
    let refused = page.get("/?q=LIFETIME&dataset=clients&state=refused", &cookie).await?;
    assert!(refused.contains("too-much") && !refused.contains(">second<"), "{refused}");
    assert!(page.get("/?q=nothing-like-this", &cookie).await?.contains("There are none"));

    let id = last_study(&entries)?.study.id.clone();
    let released =
        entries.iter().filter_map(|entry| entry.study()).find(|study| study.study.name == "first").ok_or("first")?;
    let one = page.get(&format!("/studies/{}", released.study.id), &cookie).await?;
    for words in [
        "What left this node",
        "What each party can learn",
        "Why the guarantee holds",
        "differential privacy",
        "&lt;b&gt;could",
        "retailer, telecom",
    ] {
        assert!(one.contains(words), "{words}: {one}");
    }
    assert!(page.get(&format!("/studies/{id}"), &cookie).await?.contains("refused before any of the data was read"));
    assert_eq!(page.ask("GET /studies/none", &[&cookie]).await?.status, 404);
    assert!(page.get("/officers", &cookie).await?.contains("seen by the board"));

    let export = page.get("/ledger.jsonl", &cookie).await?;
    let report = verify_export(&export, folder.pinned_roster()?.as_ref());
    assert!(report.passed(), "{}", report.text());
    let csv = page.get("/studies.csv", &cookie).await?;
    assert_eq!(csv.lines().count(), 1 + 4, "{csv}");
    let period = page.get("/report?from=2020-01-01&to=2100-12-31", &cookie).await?;
    for words in [
        "GDPR Art. 30",
        "PIPL Art. 56",
        "NIST SP 800-226",
        "Unit of privacy",
        "Neighbouring data sets",
        "Trust model",
        "Side channels",
        "too-much",
        "seen by the board",
    ] {
        assert!(period.contains(words), "{words}");
    }
    assert!(page.get("/report?from=2020-01-01&to=2020-12-31", &cookie).await?.contains("0 studies and refusals"));

    for period in ["from=yesterday&to=2026-01-01", "from=2026-02-01&to=2026-01-01", ""] {
        assert_eq!(page.ask(&format!("GET /report?{period}"), &[&cookie]).await?.status, 400, "{period}");
    }

    // Machines have a token of their own, for metrics alone.
    let token = std::fs::read_to_string(folder.state("metrics.token"))?;
    let bearer = format!("Authorization: Bearer {token}");
    let metrics = page.ask("GET /metrics", &[&bearer]).await?;
    assert!(metrics.status == 200 && page.ask("GET /", &[&bearer]).await?.status == 401);
    let value =
        |line: &str| metrics.body.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
    assert_eq!(
        value("entente_node_spent_rho{dataset=\"clients\"}"),
        Some(account.spent_after.value()),
        "{}",
        metrics.body
    );
    assert_eq!((value("entente_node_ledger_verified"), value("entente_node_quarantine")), (Some(1.0), Some(0.0)));
    assert_eq!(value("entente_node_studies{state=\"refused\"}"), Some(1.0));
    known_metrics(&metrics.body, "entente_node_");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_where_a_study_has_shown_this_node_s_own_numbers() -> Result<(), Error> {
    let world = World::with(|_| SETTINGS.to_owned() + "own_numbers = true\n").await?;
    let features = "SELECT client_id, age, balance, y FROM clients";
    let training = |name: &str| study(name).train("logistic", features).with("target", "y").with("rounds", 2);
    let each = world.run(training("each").with("per_partner", true).build()?).await?;
    let together = world.run(training("together").build()?).await?;
    let page = Page::of(&world.folder("bank")).await?;
    let cookie = page.log_in().await?;
    for (result, own) in [(each, true), (together, false)] {
        let id = result["study"]["id"].as_str().ok_or("an id")?;
        let shown = page.get(&format!("/studies/{id}"), &cookie).await?;
        assert_eq!(result["warnings"].to_string().contains("each partner's own numbers"), own, "{result}");
        assert_eq!(shown.contains("each partner's own numbers, by name"), own, "{shown}");
        assert_eq!(shown.contains("not this node's own"), !own, "{shown}");
    }
    Ok(())
}

/// Dashboard and alerts name no metric that is not there.
pub fn known_metrics(served: &str, prefix: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let names: Vec<&str> = served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut named = 0;
    for file in ["alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with(prefix)) {
            assert!(names.contains(&word), "{file} names {word}, which is not served: {names:?}");
            named += 1;
        }
    }
    assert!(named > 3, "{named}");
    // And whoever serves them is scraped, under a name that the alert on scraping has.
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).expect("the file is there");
    let job = prefix.trim_end_matches('_').replace('_', "-");
    assert!(text("prometheus.yml").contains(&format!("job_name: {job}\n")), "{job} is not scraped");
    assert!(text("alerts.yml").contains("up{job=~\"entente-.*\"}"), "the alert on scraping is of no job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_ledger_is_said_to_be_broken() -> Result<(), Error> {
    let world = world().await?;
    let folder = world.folder("bank");
    let path = folder.state("ledger.sqlite");
    let connection = rusqlite::Connection::open(&path)?;
    connection.execute_batch("DROP TRIGGER entries_no_UPDATE; UPDATE entries SET entry = replace(entry, '\"charge\":\"', '\"charge\":\"1') WHERE sequence = 3")?;
    let page = Page::of(&folder).await?;
    let cookie = page.log_in().await?;
    let overview = page.get("/", &cookie).await?;
    assert!(overview.contains("entry 3") && overview.contains("it was changed"), "{overview}");
    assert!(page.get("/metrics", &cookie).await?.contains("entente_node_ledger_verified 0"));
    Ok(())
}

/// The browser, or that there is none.
pub fn browser() -> Option<String> {
    let named = std::env::var("ENTENTE_BROWSER").ok();
    let found = named.or_else(|| Path::new("/usr/bin/chromium").exists().then(|| "/usr/bin/chromium".to_owned()));
    let is_needed = std::env::var_os("ENTENTE_NEEDS_BROWSER").is_some();
    assert!(found.is_some() || !is_needed, "a browser is needed here: install chromium");
    if found.is_none() {
        eprintln!("there is no browser; the page was not looked at in one");
    }
    found
}

/// What a browser makes of a page, with a screenshot for people if `ENTENTE_REPORTS` names a folder.
pub async fn seen(browser: &str, page: &Page, path: &str, name: &str) -> Result<String, Error> {
    let url = format!("{}&to={path}", page.url);
    let (browser, name) = (browser.to_owned(), name.to_owned());
    let run = move || -> Result<String, Error> {
        let profile = tempfile::tempdir()?;
        let start = |more: &[&str]| {
            let profile = format!("--user-data-dir={}", profile.path().display());
            let mut command = Command::new(&browser);
            command.args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
            ]);
            command
                .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars", &profile])
                .args(more)
                .arg(&url)
                .output()
        };
        if let Ok(folder) = std::env::var("ENTENTE_REPORTS") {
            std::fs::create_dir_all(&folder)?;
            for (size, kind) in [("1200,1500", "wide"), ("420,1500", "narrow")] {
                start(&[&format!("--window-size={size}"), &format!("--screenshot={folder}/{name}-{kind}.png")])?;
            }
        }
        let output = start(&["--dump-dom"])?;
        Ok(String::from_utf8(output.stdout)?)
    };
    tokio::task::spawn_blocking(run).await?
}

/// What an accessibility check looks for in a page's own structure: language, title, one heading, landmarks, a way past the
/// navigation, labels, headers of columns, names of pictures.
pub fn accessible(dom: &str) {
    let count = |what: &str| dom.matches(what).count();
    assert!(dom.contains("<html lang=\"en\"") && dom.contains("<title>"), "{dom}");
    assert_eq!((count("<h1"), count("<main"), count("class=\"skip\"")), (1, 1, 1), "{dom}");
    assert!(dom.contains("href=\"#main\"") && dom.contains("id=\"main\"") && dom.contains("<nav aria-label"));
    for tag in ["<input ", "<select "] {
        for field in dom.split(tag).skip(1) {
            let id = field.split("id=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            assert!(!id.is_empty() && dom.contains(&format!("for=\"{id}\"")), "a field without a label: {field}");
        }
    }
    for table in dom.split("<thead>").skip(1) {
        let head = table.split("</thead>").next().unwrap_or_default();
        assert_eq!(head.matches("<th").count(), head.matches("scope=\"col\"").count(), "{head}");
    }
    assert_eq!(count("<svg"), count("role=\"img\" aria-label="), "every picture has a name");
    assert_eq!((count("<script"), count("onclick"), count("style=")), (0, 0, 0));
    let mut ids = BTreeMap::new();
    for id in dom.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        *ids.entry(id).or_insert(0) += 1;
    }
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_it_and_it_is_accessible() -> Result<(), Error> {
    let Some(browser) = browser() else { return Ok(()) };
    let world = world().await?;
    let folder = world.folder("bank");
    let page = Page::of(&folder).await?;
    let entries = world.ledger("bank")?;
    let id = entries.iter().find_map(|entry| entry.study()).ok_or("a study")?.study.id.clone();
    for (path, name, expected) in [
        ("/", "node", "Budget left"),
        (&*format!("/studies/{id}"), "study", "What left this node"),
        ("/officers", "officers", "seen by the board"),
    ] {
        let dom = seen(&browser, &page, path, name).await?;
        assert!(dom.contains(expected), "{path}: {dom}");
        accessible(&dom);
    }
    Ok(())
}

/// The contrast of text with its ground, by WCAG 2.2, in both colour schemes: at least 4.5.
#[test]
fn colours_can_be_told_apart() {
    let style = entente_host::pages::look::STYLE;
    for scheme in style.split(":root {").skip(1) {
        let colour = |name: &str| -> f64 {
            let text =
                scheme.split(&format!("--{name}: #")).nth(1).and_then(|rest| rest.split(';').next()).expect("a colour");
            let wide: String =
                if text.len() == 3 { text.chars().flat_map(|c| [c, c]).collect() } else { text.to_owned() };
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).expect("hexadecimal")) / 255.0;
                if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
        };
        for ground in ["paper", "panel"] {
            for text in ["ink", "soft", "accent", "good", "bad"] {
                let (a, b) = (colour(text), colour(ground));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}

/// The operator's page: nodes, studies, what was witnessed, an alarm until it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_nodes_studies_and_alarms() -> Result<(), Error> {
    let world = world().await?;
    let keys = world.alliance().join("keys");
    let page = Page::serve(&keys, entente::page::router(world.running())).await?;
    assert_eq!(page.ask("GET /", &[]).await?.status, 401);
    let cookie = page.log_in().await?;
    let overview = page.get("/", &cookie).await?;
    let spent = last_study(&world.ledger("bank")?)?.account.spent_after;
    for expected in ["Every node's ledger goes on", "retailer", "too-much", "second", &format!("ρ = {spent} of")] {
        assert!(overview.contains(expected), "{expected}: {overview}");
    }
    assert!(!overview.contains("<b>could"));
    let token = std::fs::read_to_string(keys.join("metrics.token"))?;
    let metrics = page.ask("GET /metrics", &[&format!("Authorization: Bearer {token}")]).await?;
    assert!(metrics.body.contains("entente_coordinator_node_connected{node=\"bank\"} 1"), "{}", metrics.body);
    assert!(metrics.body.contains("entente_coordinator_studies{state=\"done\"} 3"), "{}", metrics.body);
    known_metrics(&metrics.body, "entente_coordinator_");
    if let Some(browser) = browser() {
        let dom = seen(&browser, &page, "/", "operator").await?;
        assert!(dom.contains("as witnessed"), "{dom}");
        accessible(&dom);
    }
    Ok(())
}

/// What JSON a dashboard is.
#[test]
fn the_dashboard_is_json_and_names_its_panels() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy/grafana.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.iter().all(|panel| panel["title"].is_string())));
}

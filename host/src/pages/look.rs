//! One look: the frame of every page, and the pieces that several have.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The stylesheet.
pub const STYLE: &str = include_str!("pages.css");

/// A page: `place` is what stands above all, links to the other pages below it.
pub fn page(title: &str, place: &str, links: &[(&str, &str)], body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Entente" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    p.place { (place) }
                    nav aria-label="Pages" {
                        ul { @for (href, text) in links { li { a href=(href) { (text) } } } }
                    }
                }
                main id="main" { h1 { (title) } (body) }
            }
        }
    }
}

/// A page that is a file of its own, to be kept and sent: nothing in it is from elsewhere, and its policy holds it to that.
pub fn document(title: &str, style: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) " – Entente" }
                style { (PreEscaped(style)) }
            }
            body { main { (body) } }
        }
    }
}

/// The form of the login.
pub fn login(title: &str, wrong: bool) -> Markup {
    page(
        "Log in",
        title,
        &[],
        &html! {
            @if wrong { p.bad role="alert" { "That is not the token." } }
            p { "The token is in the file " code { "page.token" } "; the command line prints an address that contains it." }
            form method="post" action="/login" {
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="off" required;
                button { "Log in" }
            }
        },
    )
}

/// How much of a budget is spent: a bar, with the numbers as text for readers who cannot see it.
pub fn gauge(label: &str, spent: f64, cap: f64) -> Markup {
    let share = if cap > 0.0 { (spent / cap).clamp(0.0, 1.0) } else { 1.0 };
    let class = if share >= 0.9 { "gauge full" } else { "gauge" };
    html! {
        svg class=(class) viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect class="all" width="100" height="6" {}
            rect class="spent" width=(format!("{:.2}", share * 100.0)) height="6" {}
        }
    }
}

/// What grew over time, between nothing and `cap`: a line of steps.
pub fn steps(label: &str, points: &[(f64, f64)], cap: f64) -> Markup {
    let first = points.first().map_or(0.0, |(at, _)| *at);
    let span = points.last().map_or(1.0, |(at, _)| at - first).max(1.0);
    let top = points.iter().map(|(_, value)| *value).fold(cap, f64::max).max(f64::MIN_POSITIVE);
    let mut path = String::from("M0 60");
    for (at, value) in points {
        path += &format!(" H{:.2} V{:.2}", (at - first) / span * 300.0, 60.0 - value / top * 56.0);
    }
    path += " H300";
    let limit = format!("{:.2}", 60.0 - cap / top * 56.0);
    html! {
        svg.steps viewBox="0 0 300 62" preserveAspectRatio="none" role="img" aria-label=(label) {
            line x1="0" x2="300" y1=(limit) y2=(limit) {}
            path d=(path) {}
        }
    }
}

/// Terms with what is said of each.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (term, is) in facts { dt { (term) } dd { (is) } } } }
}

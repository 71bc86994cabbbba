use entente_protocols::policy::{Approved, Request};

fn approve_myself(request: Request) -> Approved {
    Approved { request: Box::new(request), by: "me".into() }
}

fn main() {}

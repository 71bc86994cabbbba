use entente_protocols::policy::{Approved, Request};

fn approve_myself(request: Request) -> Approved {
    Approved { request, by: "me".into() }
}

fn main() {}

//! The programs in `door/` must not compile: each is a way around the one door.

#[test]
fn ways_around_the_door_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/door/*.rs");
}

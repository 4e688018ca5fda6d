//! Numbers given to a bench after `--`; what cargo itself passes along is left alone.

/// The number after `name`, or `default` where it is not given.
pub fn number(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    match arguments.next() {
        Some(value) => value.parse().unwrap_or_else(|_| panic!("{name}: expected a number, got {value:?}")),
        None => default,
    }
}

//! The servers a stream has come through, so that it is not sent in circles.
//!
//! Whoever sends a stream on puts a mark of its own in the second argument of connect, beside what an SRS says of
//! itself there; others ignore it. A vhost does not forward a stream that has its mark, so a stream that comes back
//! under another name ends there. One that comes back under its own name finds the name taken. A server of another
//! make in between forgets the marks, and changes no names either.
//!
//! Bounded: [`MAX_LEN`]; a stream that has come further is not forwarded any more.

use std::sync::Arc;

use mill_media::amf0::{Object, Value};

/// Where an edge that pulls over HTTP says it.
pub(crate) const HEADER: &str = "x-millstream-via";

/// Name of the property.
const KEY: &str = "millstream_via";

/// The marks of some forty servers, in bytes.
const MAX_LEN: usize = 1024;

/// Marks, a comma between two. Empty for a stream that was published here first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Via(Arc<str>);

impl Via {
    /// What a publisher's connect says.
    pub(crate) fn of(args: Option<&Object>) -> Self {
        Self::parse(args.and_then(|args| args.get(KEY)).and_then(Value::as_str).unwrap_or_default())
    }

    /// What [`HEADER`] says.
    pub(crate) fn parse(text: &str) -> Self {
        // What is too long stays too long, and says no more than that.
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_LEN).unwrap_or(text.len());
        Self(text[..end].into())
    }

    /// Whether a stream that has come this way may be sent on by who has this mark.
    pub(crate) fn allows(&self, mark: &str) -> bool {
        self.0.len() + 1 + mark.len() <= MAX_LEN && self.0.split(',').all(|passed| passed != mark)
    }

    /// Tells the next server, `mark` included.
    pub(crate) fn tell(&self, mark: &str, args: &mut Object) {
        args.set(KEY, self.with(mark));
    }

    /// The same as text.
    pub(crate) fn with(&self, mark: &str) -> String {
        if self.0.is_empty() { mark.to_owned() } else { format!("{},{mark}", self.0) }
    }
}

/// The mark of a vhost: `run` is a number of this start of the server that no other has.
pub(crate) fn mark(run: u64, vhost: &str) -> String {
    // Without the separator, which no name of a host has.
    format!("{run:016x}/{}", vhost.replace(',', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(via: &Via, mark: &str) -> Via {
        let mut args = Object::new();
        via.tell(mark, &mut args);
        Via::of(Some(&args))
    }

    #[test]
    fn nobody_sends_a_stream_twice() {
        let [a, b, other] = [mark(1, "a.com"), mark(2, "a.com"), mark(1, "b.com")];
        let fresh = Via::of(None);
        assert!(fresh.allows(&a));
        let once = after(&fresh, &a);
        assert!(!once.allows(&a) && once.allows(&b) && once.allows(&other));
        let twice = after(&once, &b);
        assert!(!twice.allows(&a) && !twice.allows(&b) && twice.allows(&other));
    }

    #[test]
    fn the_way_has_an_end() {
        let mut via = Via::default();
        let hops = (0..1000).take_while(|n| {
            let mark = mark(*n, "a.com");
            let on = via.allows(&mark);
            via = after(&via, &mark);
            on
        });
        assert!((20..60).contains(&hops.count()));
        let endless = Object::new().with(KEY, "ü".repeat(100_000));
        let via = Via::of(Some(&endless));
        assert!(!via.allows("x") && via.0.len() < MAX_LEN + 4);
        assert_eq!(Via::of(Some(&Object::new().with(KEY, 7.0))), Via::default());
    }
}

//! Which resource a path means, by SRS's rules: the longest route that fits wins, one that ends in `/`
//! fits everything below it, and one that lacks only that slash is redirected to it.

use futures_util::future::BoxFuture;
use hyper::Method;

use super::openapi::Shape;
use super::{Answer, Asked};

/// The methods a resource has; HEAD goes with GET, OPTIONS is answered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    Get,
    GetDelete,
    Any,
}

impl Methods {
    pub(super) fn allow(self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            _ if matches!(*method, Method::GET | Method::HEAD) => true,
            Self::GetDelete => *method == Method::DELETE,
            Self::Get => false,
        }
    }

    /// For the `Allow` header.
    pub(super) fn names(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD, OPTIONS",
            Self::GetDelete => "GET, HEAD, DELETE, OPTIONS",
            Self::Any => "GET, HEAD, POST, PUT, DELETE, OPTIONS",
        }
    }
}

/// What answers a request.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Now(fn(&Asked<'_>) -> Answer),
    /// For what reads files or waits for somebody.
    Later(for<'a> fn(&'a Asked<'a>) -> BoxFuture<'a, Answer>),
}

impl Handler {
    pub(super) async fn call<'a>(&self, asked: &'a Asked<'a>) -> Answer {
        match self {
            Self::Now(handler) => handler(asked),
            Self::Later(handler) => handler(asked).await,
        }
    }
}

/// One resource.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(super) methods: Methods,
    pub(super) handler: Handler,
    /// For the index.
    pub(crate) doc: &'static str,
    /// What its answer looks like, if the description of the API tells.
    pub(super) shape: Option<fn() -> Shape>,
    /// The same for one thing of the list it is.
    pub(super) item: Option<fn() -> Shape>,
    /// The parameters it looks at.
    pub(super) query: &'static [&'static str],
}

impl Route {
    pub(super) const fn shape(mut self, shape: fn() -> Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    pub(super) const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    pub(super) const fn item(mut self, shape: fn() -> Shape) -> Self {
        self.item = Some(shape);
        self
    }
}

/// A resource that is answered without waiting.
pub(super) const fn now(
    path: &'static str,
    methods: Methods,
    handler: fn(&Asked<'_>) -> Answer,
    doc: &'static str,
) -> Route {
    route(path, methods, Handler::Now(handler), doc)
}

/// A resource that has to wait.
pub(super) const fn later(
    path: &'static str,
    methods: Methods,
    handler: for<'a> fn(&'a Asked<'a>) -> BoxFuture<'a, Answer>,
    doc: &'static str,
) -> Route {
    route(path, methods, Handler::Later(handler), doc)
}

const fn route(path: &'static str, methods: Methods, handler: Handler, doc: &'static str) -> Route {
    Route { path, methods, handler, doc, shape: None, item: None, query: &[] }
}

/// What became of a path.
pub(super) enum Found<'r, 'p> {
    /// The route, and what the path has behind it.
    Route(&'r Route, &'p str),
    /// A slash at the end is missing.
    Slash,
    /// It climbs.
    Unclean,
    Nothing,
}

/// Finds the route for a path.
pub(super) fn find<'r, 'p>(routes: &'r [Route], path: &'p str) -> Found<'r, 'p> {
    if path.split('/').any(|level| matches!(level, "." | "..")) {
        return Found::Unclean;
    }
    // Before the routes around it, which it fits too.
    if routes.iter().any(|route| route.path.strip_suffix('/') == Some(path)) {
        return Found::Slash;
    }
    let fitting = routes
        .iter()
        .filter(|route| path == route.path || route.path.ends_with('/') && path.starts_with(route.path));
    match fitting.max_by_key(|route| route.path.len()) {
        Some(route) => Found::Route(route, &path[route.path.len()..]),
        None => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> String {
        let nothing = |_: &Asked<'_>| Answer::code(0);
        let routes = ["/api/", "/api/v1/", "/api/v1/streams/", "/api/v1/versions"]
            .map(|path| now(path, Methods::Get, nothing, ""));
        match find(&routes, path) {
            Found::Route(route, rest) => format!("{} {rest}", route.path),
            Found::Slash => "slash".into(),
            Found::Unclean => "unclean".into(),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn the_longest_route_that_fits() {
        for (path, expected) in [
            ("/api/", "/api/ "),
            ("/api/v2", "/api/ v2"),
            ("/api/v1/streams/", "/api/v1/streams/ "),
            ("/api/v1/streams/vid-1-2", "/api/v1/streams/ vid-1-2"),
            ("/api/v1/versions", "/api/v1/versions "),
            ("/api/v1/versions/x", "/api/v1/ versions/x"),
            ("/api/v1/unknown", "/api/v1/ unknown"),
            ("/api/v1/streams", "slash"),
            ("/api/v1", "slash"),
            ("/api", "slash"),
            ("/api/v1/../v1/versions", "unclean"),
            ("/", "nothing"),
            ("/apis/", "nothing"),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }
}

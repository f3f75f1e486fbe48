//! The Engine API: routes, bodies and status codes. A handler translates, and that is all.

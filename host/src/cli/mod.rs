//! What the user types and reads. Arguments in, Engine API calls, text out.

//! Order, repetition and bounds, without the rest of the server.

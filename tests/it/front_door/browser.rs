//! What a real browser does with what it is told.

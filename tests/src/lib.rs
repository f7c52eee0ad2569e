//! Nothing here: see the test files beside it.

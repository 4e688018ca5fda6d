//! temp
#[derive(Debug, Clone)]
pub struct S3Settings {}

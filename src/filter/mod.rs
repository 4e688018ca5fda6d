//! Stub.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(serde_json::Value);
impl Filter {
    pub fn parse_where(value: &serde_json::Value) -> crate::Result<Filter> {
        match value.as_object() {
            Some(o) if !o.is_empty() => Ok(Filter(value.clone())),
            _ => Err(crate::Error::invalid(format!("where: expected an object, got {value}"))),
        }
    }
    pub fn parse_where_document(value: &serde_json::Value) -> crate::Result<Filter> {
        match value.as_object() {
            Some(o) if !o.is_empty() => Ok(Filter(value.clone())),
            _ => Err(crate::Error::invalid(format!("where_document: expected an object, got {value}"))),
        }
    }
    pub fn and(filters: impl IntoIterator<Item = Filter>) -> Filter {
        filters.into_iter().next().unwrap()
    }
}

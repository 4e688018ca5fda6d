//! Stub.
pub mod request;
use crate::{Error, Kind, Record, Result, Version, config::Limits};
use parking_lot::Mutex;
use request::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub struct State {
    pub info: CollectionInfo,
    pub records: Vec<Record>,
    pub limits: Limits,
}
#[derive(Debug, Clone)]
pub struct Collection(pub Arc<Mutex<State>>);

fn found(r: &Record, i: Include) -> Found {
    Found {
        id: r.id.clone(),
        embedding: i.embedding.then(|| r.embedding.clone()),
        document: r.document.clone().filter(|_| i.document),
        uri: r.uri.clone().filter(|_| i.uri),
        metadata: r.metadata.clone().filter(|_| i.metadata),
    }
}
impl Collection {
    pub async fn write(&self, write: Write) -> Result<WriteOutcome> {
        let mut s = self.0.lock();
        let mut out = WriteOutcome::default();
        let index: BTreeMap<String, usize> = s.records.iter().enumerate().map(|(i, r)| (r.id.clone(), i)).collect();
        match write {
            Write::Add(rs) | Write::Upsert(rs) if false => {
                let _ = rs;
            }
            Write::Add(rs) => {
                for r in rs {
                    s.check(&r)?;
                    if index.contains_key(&r.id) {
                        out.skipped += 1
                    } else {
                        out.applied += 1;
                        s.records.push(r)
                    }
                }
            }
            Write::Upsert(rs) => {
                for r in rs {
                    s.check(&r)?;
                    out.applied += 1;
                    match index.get(&r.id) {
                        Some(i) => s.records[*i] = r,
                        None => s.records.push(r),
                    }
                }
            }
            Write::Update(us) => {
                for u in us {
                    match index.get(&u.id) {
                        None => out.skipped += 1,
                        Some(i) => {
                            out.applied += 1;
                            let r = &mut s.records[*i];
                            if let Some(e) = u.embedding {
                                r.embedding = e
                            }
                            if u.document.is_some() {
                                r.document = u.document
                            }
                            if u.uri.is_some() {
                                r.uri = u.uri
                            }
                            if let Some(p) = u.metadata {
                                let m = r.metadata.get_or_insert_default();
                                for (k, v) in p.0 {
                                    match v {
                                        Some(v) => {
                                            m.0.insert(k, v);
                                        }
                                        None => {
                                            m.0.remove(&k);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            Write::Delete(sel) => {
                let before = s.records.len();
                if let Some(ids) = sel.ids {
                    s.records.retain(|r| !ids.contains(&r.id));
                    out.skipped = ids.len() - (before - s.records.len())
                } else {
                    s.records.clear()
                }
                out.applied = before - s.records.len();
            }
            _ => {}
        }
        s.info.version = s.info.version.next();
        s.info.count = s.records.len() as u64;
        out.version = s.info.version;
        Ok(out)
    }
    pub async fn get(&self, get: Get) -> Result<GetAnswer> {
        let s = self.0.lock();
        let records = s
            .records
            .iter()
            .filter(|r| get.ids.as_ref().is_none_or(|ids| ids.contains(&r.id)))
            .skip(get.offset)
            .take(get.limit.unwrap_or(usize::MAX))
            .map(|r| found(r, get.include))
            .collect();
        Ok(GetAnswer { records, version: s.info.version })
    }
    pub async fn search(&self, q: Query) -> Result<QueryAnswer> {
        let s = self.0.lock();
        if q.k == 0 || q.k > s.limits.k {
            return Err(Error::new(Kind::Limit, format!("k: expected 1 to {}, got {}", s.limits.k, q.k)));
        }
        let mut results = vec![];
        for e in &q.embeddings {
            if let Some(d) = s.info.dimension
                && d != e.len()
            {
                return Err(Error::invalid(format!("embedding: expected {d} floats, got {}", e.len())));
            }
            let mut hits: Vec<Hit> = s
                .records
                .iter()
                .map(|r| Hit {
                    distance: r.embedding.iter().zip(e).map(|(a, b)| (a - b) * (a - b)).sum(),
                    record: found(r, q.include),
                })
                .collect();
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            hits.truncate(q.k);
            results.push(hits);
        }
        Ok(QueryAnswer { results, version: s.info.version })
    }
    pub async fn count(&self, _: Consistency) -> Result<u64> {
        Ok(self.0.lock().records.len() as u64)
    }
    pub fn info(&self) -> CollectionInfo {
        self.0.lock().info.clone()
    }
}
impl State {
    fn check(&mut self, r: &Record) -> Result<()> {
        if r.id.is_empty() {
            return Err(Error::invalid("id: expected 1 to 4096 bytes, got an empty string"));
        }
        if r.id.len() > self.limits.id_bytes {
            return Err(Error::limit("id: too long"));
        }
        let d = *self.info.dimension.get_or_insert(r.embedding.len());
        if d != r.embedding.len() {
            return Err(Error::invalid(format!("embedding: expected {d} floats, got {}", r.embedding.len())));
        }
        Ok(())
    }
}

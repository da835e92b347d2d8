"""Tables of the catalog. Directories of earlier versions have them, so names stay."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS seq(n INTEGER);
CREATE TABLE IF NOT EXISTS zone(id INTEGER PRIMARY KEY, name TEXT UNIQUE, type TEXT, conn TEXT,
  comment TEXT);
CREATE TABLE IF NOT EXISTS coll(id INTEGER PRIMARY KEY, name TEXT UNIQUE, parent TEXT, owner TEXT,
  ozone TEXT, inherit TEXT DEFAULT '', comments TEXT DEFAULT '', ctime TEXT, mtime TEXT);
CREATE INDEX IF NOT EXISTS coll_parent ON coll(parent);
CREATE TABLE IF NOT EXISTS data(id INTEGER, repl INTEGER, coll_id INTEGER, name TEXT,
  size INTEGER, type TEXT, resc_id INTEGER, path TEXT, owner TEXT, ozone TEXT, status INTEGER,
  checksum TEXT DEFAULT '', expiry TEXT DEFAULT '00000000000', comments TEXT DEFAULT '',
  mode TEXT DEFAULT '33188', ctime TEXT, mtime TEXT, atime TEXT,
  PRIMARY KEY(id, repl)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS data_name ON data(coll_id, name);
CREATE UNIQUE INDEX IF NOT EXISTS data_once ON data(coll_id, name, repl);
CREATE INDEX IF NOT EXISTS data_resc ON data(resc_id);
CREATE INDEX IF NOT EXISTS data_open ON data(status) WHERE status > 1;
CREATE TABLE IF NOT EXISTS user(id INTEGER PRIMARY KEY, name TEXT, zone TEXT, type TEXT,
  info TEXT DEFAULT '', comment TEXT DEFAULT '', password TEXT DEFAULT '', ctime TEXT, mtime TEXT,
  UNIQUE(name, zone));
CREATE TABLE IF NOT EXISTS member(group_id INTEGER, user_id INTEGER,
  PRIMARY KEY(group_id, user_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resc(id INTEGER PRIMARY KEY, name TEXT UNIQUE, type TEXT,
  class TEXT DEFAULT 'cache', loc TEXT, vault TEXT, parent TEXT DEFAULT '',
  parent_ctx TEXT DEFAULT '', context TEXT DEFAULT '', info TEXT DEFAULT '',
  comment TEXT DEFAULT '', status TEXT DEFAULT '', free TEXT DEFAULT '', free_time TEXT DEFAULT '',
  children TEXT DEFAULT '', ctime TEXT, mtime TEXT);
CREATE TABLE IF NOT EXISTS meta(id INTEGER PRIMARY KEY, attr TEXT, value TEXT, units TEXT,
  ctime TEXT, mtime TEXT, UNIQUE(attr, value, units));
CREATE INDEX IF NOT EXISTS meta_value ON meta(value);
CREATE TABLE IF NOT EXISTS objt(object_id INTEGER, meta_id INTEGER, ctime TEXT, mtime TEXT,
  PRIMARY KEY(object_id, meta_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objt_meta ON objt(meta_id);
CREATE TABLE IF NOT EXISTS access(object_id INTEGER, user_id INTEGER, level INTEGER,
  PRIMARY KEY(object_id, user_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticket(id INTEGER PRIMARY KEY, string TEXT UNIQUE, type TEXT,
  user_id INTEGER, object_id INTEGER, object_type TEXT, uses_limit INTEGER DEFAULT 0,
  uses_count INTEGER DEFAULT 0, expiry TEXT DEFAULT '', wfile_count INTEGER DEFAULT 0,
  wfile_limit INTEGER DEFAULT 10, wbyte_count INTEGER DEFAULT 0, wbyte_limit INTEGER DEFAULT 0,
  ctime TEXT, mtime TEXT);
CREATE TABLE IF NOT EXISTS ticket_limit(ticket_id INTEGER, kind TEXT, name TEXT,
  PRIMARY KEY(ticket_id, kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doomed(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS locked(id INTEGER, repl INTEGER, status INTEGER,
  PRIMARY KEY(id, repl)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quota(user_id INTEGER, resc_id INTEGER, lim INTEGER, over INTEGER,
  mtime TEXT);
CREATE TABLE IF NOT EXISTS quota_usage(user_id INTEGER, resc_id INTEGER, usage INTEGER,
  mtime TEXT);
CREATE TABLE IF NOT EXISTS user_auth(user_id INTEGER, dn TEXT, ctime TEXT,
  PRIMARY KEY(user_id, dn)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS temp_password(user_id INTEGER, password TEXT, expires INTEGER);
CREATE TABLE IF NOT EXISTS specific(alias TEXT, sql TEXT, ctime TEXT);
"""

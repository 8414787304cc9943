-- Tokens that were issued before a user was signed out are refused.

ALTER TABLE users ADD COLUMN signed_out_at timestamptz;

-- Which password of its role a placement has: another number is another password.

ALTER TABLE placements ADD COLUMN password_generation integer NOT NULL DEFAULT 1;

-- The names of all time zones, in lower case.
SELECT DISTINCT lower(name COLLATE "C") AS name FROM pg_timezone_names

-- Create the role that a sync reads the source with: it may read the four tables, and write nothing.
-- Run this as an administrator; it can be run again. Set the password of the role separately:
--
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f deploy/sync_role.sql
--     psql "$ADMIN_URL" -c '\password americano_sync'
--
-- BYPASSRLS: the tables have row-level security, and the role does not act for a user of the app. A policy would not
-- do: a sync sets row_security = off, so that Postgres refuses instead of hiding rows.
DO $$
DECLARE
    name text;
    found regclass;
    tables regclass[] := '{}';
BEGIN
    FOREACH name IN ARRAY ARRAY['behavioral_events', 'experiment_protocols', 'phase_assignments', 'analysis_runs']
    LOOP
        -- As Prisma names it with @@map, and without: PhaseAssignment.
        found := coalesce(
            to_regclass(name), to_regclass(quote_ident(regexp_replace(replace(initcap(name), '_', ''), 's$', '')))
        );
        IF found IS NULL THEN
            RAISE WARNING 'the table % is not in the search path; a sync leaves it out', name;
        ELSE
            tables := tables || found;
        END IF;
    END LOOP;
    IF tables = '{}' THEN
        RAISE EXCEPTION 'none of the four tables is in the search path';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'americano_sync') THEN
        CREATE ROLE americano_sync LOGIN;
    END IF;
    ALTER ROLE americano_sync BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
    ALTER ROLE americano_sync SET default_transaction_read_only = on;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO americano_sync', current_database());
    FOREACH found IN ARRAY tables
    LOOP
        EXECUTE format(
            'GRANT USAGE ON SCHEMA %s TO americano_sync',
            (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = found)
        );
        EXECUTE format('REVOKE ALL ON %s FROM americano_sync', found);
        EXECUTE format('GRANT SELECT ON %s TO americano_sync', found);
    END LOOP;
END
$$;

#!/bin/sh
# What VSTest starts instead of dotnet for the tests that need IPVS; see TestHost.cs.
exec dotnet "$(dirname "$0")/../Conformance.Cli.dll" test-host "$@"

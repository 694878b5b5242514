#!/bin/sh
# What VSTest starts instead of dotnet for the tests that need IPVS; see TestHost.cs.
export DOTNET_EnableDiagnostics=0 # else a killed test host leaves sockets in /tmp
exec dotnet "$(dirname "$0")/../Conformance.Launcher.dll" test-host "$@"

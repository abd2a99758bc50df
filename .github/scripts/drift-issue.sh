#!/usr/bin/env bash
# Keep one issue a hardware: opened on drift, updated while it lasts, closed when it is gone.
# usage: drift-issue.sh CODE HARDWARE REPORT RUN   CODE: 0 no drift, 1 drift, 2 can't say
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

code=$1 hardware=$2 report=$3 run=$4
require_key "$hardware"
title="Energy drift on $hardware"
open=$(gh issue list --state open --label energy-drift --limit 100 --json number,title \
  --jq ".[] | select(.title == \"$title\") | .number" | head -n 1)
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  echo "The nightly session on \`$hardware\` drifted: $run"
  echo
  fenced "$report" text
  echo
  echo "This issue is kept up to date by the job, which closes it when the drift is gone."
} > "$body"

case "$code" in
  0)
    if [ -n "$open" ]; then gh issue close "$open" --comment "No drift any more: $run"; fi
    ;;
  1)
    if [ -n "$open" ]; then
      gh issue edit "$open" --body-file "$body"
      gh issue comment "$open" --body "Still there: $run"
    else
      gh label create energy-drift --force --description "J/token moved over time" --color d93f0b
      gh issue create --title "$title" --label energy-drift --body-file "$body"
    fi
    ;;
  2) echo "::warning::the history of $hardware is too short to say whether it drifted" ;;
  *)
    echo "\`$code\` is no code of \`pytest-energy drift\`; it ends with 0, 1 or 2" >&2
    exit 4
    ;;
esac

#!/bin/sh
# Usage: plots.sh RESULTS.tsv DIRECTORY
# Draw what the benchmark wrote: throughput in bars with RAW as the line, the
# percentiles of latencies, and rates by threads, each as SVG and as PNG.
# A plot whose figures are not in the file is left out, and that is said.
set -eu
results=$1 out=$2
command -v gnuplot >/dev/null || { echo "plots: gnuplot is not installed: make bench-deps" >&2; exit 1; }
mkdir -p "$out"
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
escape() { printf %s "$1" | sed 's/_/\\\\_/g'; } # gnuplot would make it a subscript
machine=$(sed -n '1s/^# //p' "$results")
first=${machine%%, Linux*} rest=${machine#"$first", }
title="\n{/*0.7 $(escape "$first")}\n{/*0.7 $(escape "$rest")}"

draw() { # NAME COMMANDS
  for kind in svg png; do
    term="svg size 800,520 enhanced font 'sans,13' background rgb 'white'"
    [ $kind = svg ] || term="pngcairo size 800,520 enhanced font 'sans,11'"
    printf '%s\n' "set terminal $term" "set output '$out/$1.$kind'" \
      "set datafile separator \"\\t\"" "set grid" "$2" | gnuplot
  done
}
missing() { echo "plots: no figures for $1 in $results" >&2; }

# label, median, least, most of the rates of a section that match
rates() {
  awk -F '\t' -v s="$1" -v l="$2" '!/^#/ && index($1, s) == 1 && $3 == "records/s" && $2 ~ l {
    print $2 "\t" $4 "\t" $5 "\t" $6 }' "$results"
}

bars() { # NAME TITLE FILE RAW
  [ -s "$3" ] || { missing "$1"; return; }
  draw "$1" "set title \"$2$title\" noenhanced
set title enhanced
unset key
set logscale y
set ylabel 'records per second'
set format y '%.0s %c'
set style fill solid 0.6
set boxwidth 0.7
set xtics rotate by -40 noenhanced scale 0 font ',9'
set bmargin 11
set rmargin 8
raw = ${4:-0}
if (raw > 0) set arrow from graph 0, first raw to graph 1, first raw nohead lw 2 lc rgb '#c00000' front; set label 'RAW' at graph 1.01, first raw tc rgb '#c00000'
plot '$3' using 0:2:xtic(1) with boxes lc rgb '#3070b0', '' using 0:2:3:4 with yerrorbars lc rgb 'black' pt -1"
}
rates "Append in page-cache" ", 100 B" | grep -v '^raw' | sed 's/, 100 B//; s/batches of 64/by 64/; s/one by one/singly/; s/reserved, published/reserved/; s/, prepared/ (prepared)/' | sort -t "$(printf '\t')" -k2,2gr >"$work/append"
bars append "Page-cache append of 100 B, one thread (log scale)" "$work/append" "$(rates "Append in page-cache" '^raw, 100 B, prepared' | cut -f2)"

rates "Durable append" ", [0-9]+ threads?" | awk -F '\t' '{
  n = $1; sub(/ threads?.*/, "", n); t = n; sub(/.*, /, "", t); sub(/, [0-9]+$/, "", n)
  print n "\t" t "\t" $2 }' | sort -t "$(printf '\t')" -k1,1 -k2,2n >"$work/threads"
if [ -s "$work/threads" ]; then
  plot=plot sep=' '
  cut -f1 "$work/threads" | sort -u >"$work/names"; i=0
  while read -r name; do
    i=$((i + 1)); grep "^$name	" "$work/threads" >"$work/t$i"
    width=1.5; case $name in duralog*) width=3.5 ;; esac
    plot="$plot$sep'$work/t$i' using 2:3 with linespoints lw $width pt $i title '$name' noenhanced"; sep=', '
  done <"$work/names"
  draw threads "set title \"Durable append of 100 B, by threads (log scales)$title\"
set logscale xy
set xtics (1, 2, 4, 8, 16, 32, 64)
set xrange [0.9:36]
set xlabel 'threads'
set ylabel 'durable records per second'
set format y '%.0s %c'
set key outside right
$plot"
else missing threads; fi

awk -F '\t' '!/^#/ && $3 == "ns" && $2 ~ /^(durable|write-behind, schedule|sync 10 ms, schedule)/ && $2 ~ /p(50|90|99|99\.9|99\.99)$/ {
  n = $2; p = n; sub(/.*p/, "", p); sub(/,? *p[0-9.]+$/, "", n); print n "\t" p "\t" $4 }' "$results" >"$work/latency"
if [ -s "$work/latency" ]; then
  plot=plot sep=' '
  cut -f1 "$work/latency" | sort -u >"$work/names"; i=0
  while read -r name; do
    i=$((i + 1)); awk -F '\t' -v n="$name" '$1 == n' "$work/latency" | sort -t "$(printf '\t')" -k2,2g >"$work/l$i"
    plot="$plot$sep'$work/l$i' using (-log10(1-\$2/100)):(\$3/1000) with linespoints lw 2 pt $i title '$name' noenhanced"; sep=', '
  done <"$work/names"
  draw latency "set title \"Latency percentiles (log scale)$title\"
set logscale y
set xtics ('50' 0.301, '90' 1, '99' 2, '99.9' 3, '99.99' 4)
set xlabel 'percentile'
set ylabel 'microseconds'
set key below font ',9'
$plot"
else missing latency; fi

# shellcheck shell=bash
# A SLURM of one machine, for `run.sh`, which sources this file: a controller and a node, both on loopback and on ports
# of their own, without systemd, and with all their files in one folder.

# Installs Debian's packages, if the commands are missing.
install_slurm() {
  type sbatch slurmctld slurmd munged mungekey > /dev/null 2>&1 && return
  echo "Installing slurm-wlm and munge"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge > /dev/null
}

# Starts the daemons with all their files in the folder $1, and waits for the node. Sets SLURM_CONF.
start_cluster() {
  local folder="$1" host
  host="$(hostname -s)"
  export SLURM_CONF="$folder/slurm.conf"
  mkdir -p "$folder"/{state,spool,munge}
  mungekey --create --keyfile "$folder/munge/key"
  chown -R munge: "$folder/munge"
  runuser -u munge -- munged --force --key-file "$folder/munge/key" --socket "$folder/munge/socket" \
    --pid-file "$folder/munge/pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed"
  # No cgroups, which containers often lack. `slurmd -C` says what processors and memory the machine has.
  cat > "$SLURM_CONF" << CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
KillWait=10
$(slurmd -C | grep ^NodeName=) NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  slurmctld
  slurmd
  for _ in $(seq 60); do
    sinfo -h -o %T 2> /dev/null | grep -q idle && return
    sleep 1
  done
  echo "the node did not come up:" >&2
  tail -n 20 "$folder"/slurmctld.log "$folder"/slurmd.log >&2
  return 1
}

# Ends the jobs and the daemons of the folder $1.
stop_cluster() {
  local file process
  # Without the folder's configuration, these commands would reach the site's own SLURM.
  [ "${SLURM_CONF:-}" = "$1/slurm.conf" ] || return 0
  scancel --user=root 2> /dev/null || true
  for _ in $(seq 20); do
    squeue -h 2> /dev/null | grep -q . || break
    sleep 1
  done
  for file in "$1"/slurmd.pid "$1"/slurmctld.pid "$1"/munge/pid; do
    [ -s "$file" ] || continue
    process="$(cat "$file")"
    kill "$process" 2> /dev/null || continue
    for _ in $(seq 50); do
      kill -0 "$process" 2> /dev/null || break
      sleep 0.2
    done
  done
}

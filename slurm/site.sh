# Sourced by cpu.sbatch and gpu.sbatch: takes what stands before the command, and says how a job queues itself again.
#
#   --module NAME      module load NAME              --setup LINE      a line for bash
#   --env NAME=VALUE   export it                     --python PATH     the interpreter (default: .venv/bin/python)
#   --container WORD   a word of the command that python is started with, one after the other: apptainer, exec, --nv, x.sif
#   --srun WORD        an option more for srun       --restarts N      how often the job may queue itself again (default: 100)
#   --leave yes        leave that to who submitted the job: the site lets no job do it
#
# text2lm puts them there from the [slurm] table of the config; by hand they can be typed. Nothing here is a template.

python=.venv/bin/python container=() srun=() restarts=100 leave=
while :; do
  case ${1:-} in
    --module)
      type module >/dev/null 2>&1 || source /etc/profile
      module load "$2" || exit 1
      ;;
    --setup) eval "$2" || exit 1 ;;
    --env) export "$2" ;;
    --python) python=$2 ;;
    --container) container+=("$2") ;;
    --srun) srun+=("$2") ;;
    --restarts) restarts=$2 ;;
    --leave) leave=$2 ;;
    *) break ;;
  esac
  shift 2
done
python=("${container[@]}" "$python" -P -m)
restart=${SLURM_RESTART_COUNT:-0} signal=
# One element of an array has the array's own id: named by it, all of them would be queued again.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
say() { echo "$(date '+%F %T') $*"; }

# A signal is passed on by `forward`, once there is somebody to pass it on to; $signal says which it was.
forward() { :; }
for name in TERM USR1 USR2; do
  trap "signal=$name interrupted=yes; forward" "$name"
done

# Wait for a process of this shell; $code is what it ended with.
wait_for() {
  interrupted=yes
  while [ -n "$interrupted" ]; do # a signal ends one wait, not the process
    interrupted=
    wait "$1"
    code=$?
  done
}

# From now on nothing interrupts this script or what it starts: it only decides what becomes of the job.
deaf() { trap '' TERM USR1 USR2; }

# What becomes of this job, as far as can be told from inside: Slurm shows COMPLETING, whatever ends it.
job_state() {
  local facts state
  facts=$(scontrol show job --oneliner "$job" 2>/dev/null)
  state=$(fact JobState)
  if [ "$state" = COMPLETING ]; then
    case $(fact Restarts)/$(fact Reason) in
      "$restart"/TimeLimit) state=TIMEOUT ;;
      "$restart"/*) state=CANCELLED ;;
      *) state=REQUEUED ;; # preempted: Slurm has queued it again
    esac
  fi
  echo "$state"
}
fact() { grep -o " $1=[^ ]*" <<<"$facts" | head -n1 | cut -d= -f2; }

# This job into the queue again, under the same id: what depends on it goes on waiting. Slurm ends this attempt then.
# $1: nodes that it shall do without.
queue_again() {
  local tries=60 others
  case $(job_state) in
    CANCELLED)
      say "cancelled: not queued again"
      exit 3
      ;;
    REQUEUED)
      sleep 300
      exit 1
      ;;
  esac
  if [ -n "$leave" ]; then
    say "paused; the site lets no job queue itself again: text2lm run submits it"
    exit 3
  elif [ "$restart" -ge "$restarts" ]; then
    echo "text2lm: queued again $restart times, and no more (slurm.max_restarts)"
    exit 1
  fi
  until scontrol requeue "$job"; do # the controller may be starting anew
    ((tries--)) || exit 1
    sleep 5
  done
  if [ -n "${1:-}" ]; then
    others=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --format=%N | sort -u | grep -vxcF "${1//,/$'\n'}")
    if [ "$others" -ge "$SLURM_JOB_NUM_NODES" ]; then
      scontrol update "JobId=$job" "ExcNodeList=$1"
    else
      say "no other nodes to take in the place of $1"
    fi
  fi
  sleep 300 # until Slurm ends this attempt
  exit 1
}

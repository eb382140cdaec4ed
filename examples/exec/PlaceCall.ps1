# Places one call for PhoneGate, through the telephone gateway that place_call.py describes, with Windows PowerShell 5.1.
#
# An example for the backend "exec" (docs/backends.md). No test runs it. In phonegate.json:
#
#   "type": "exec",
#   "program": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
#   "arguments": ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "AllSigned", "-File"],
#   "script": "C:\\Program Files\\PhoneGate\\PlaceCall.ps1",
#   "environment": ["GATEWAY"], "supports_check": true

$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
$gateway = $env:GATEWAY

# Write-Host and a result that is left over would also write to standard output: use only this.
function Report([hashtable] $fields) {
    [Console]::Out.Write((ConvertTo-Json $fields -Compress) + "`n")
    [Console]::Out.Flush()
}

# Reports the verdict. It must be the last line, and the program must end with 0.
function Complete([hashtable] $fields) { Report $fields; exit 0 }

function Ask([string] $method, [string] $path, $body) {
    $request = @{ Method = $method; Uri = "$gateway$path"; TimeoutSec = 10; UseBasicParsing = $true }
    if ($null -ne $body) {
        $request.Body = [Text.Encoding]::UTF8.GetBytes((ConvertTo-Json $body -Compress))
        $request.ContentType = 'application/json'
    }
    Invoke-RestMethod @request
}

try {
    # A console reader would block, so the end of the input is awaited as a task. The input is one line of ASCII.
    $stdin = [Console]::OpenStandardInput()
    $line = New-Object Text.StringBuilder
    while (($byte = $stdin.ReadByte()) -ne 10) {
        if ($byte -lt 0) { exit 1 }
        [void] $line.Append([char] $byte)
    }
    $task = ConvertFrom-Json $line.ToString()

    if ($task.PSObject.Properties['check']) {
        [void] (Ask 'GET' '/status')
        Complete @{ event = 'ready'; text = 'the gateway works' }
    }

    $hangUp = $stdin.ReadAsync((New-Object byte[] 1), 0, 1)
    $text = 'To approve, press {0}, then pound.'
    try {
        $call = Ask 'POST' '/calls' @{
            to = $task.number; extension = $task.extension; language = $task.language
            text = $text -f $task.attempts[0].spoken
        }
    } catch [Net.WebException] {
        # Only these two certainly rang no phone. Otherwise PhoneGate fails the call.
        if ($_.Exception.Status -eq 'ConnectFailure') {
            Complete @{ event = 'failed'; reason = 'CannotPlace'; text = 'the gateway does not run'; may_ring = $false }
        }
        if ($_.Exception.Response -and [int] $_.Exception.Response.StatusCode -eq 400) {
            Complete @{ event = 'failed'; reason = 'InvalidNumber'; may_ring = $false }
        }
        throw
    }

    $path = "/calls/$($call.id)"
    $number = 0
    $state = ''
    foreach ($attempt in $task.attempts) {
        $number++
        if ($number -gt 1) { [void] (Ask 'POST' "$path/text" @{ text = $text -f $attempt.spoken }) }
        $entry = $null
        while ($null -eq $entry) {
            # PhoneGate closes the input to hang up.
            if ($hangUp.Wait(200)) { [void] (Ask 'DELETE' $path); exit 0 }
            $now = Ask 'GET' $path
            $entry = $now.entry
            if ($now.state -ne $state) {
                $state = $now.state
                if ($state -in 'ringing', 'answered') { Report @{ event = $state } }
            }
            if ($null -eq $entry) {
                switch ($state) {
                    'busy' { Complete @{ event = 'failed'; reason = 'Busy' } }
                    'no_answer' { Complete @{ event = 'failed'; reason = 'NoAnswer' } }
                    'ended' { Complete @{ event = 'failed'; reason = 'CallEnded' } }
                }
            }
        }
        # PhoneGate judges the entry. This only decides whether to ask once more.
        if ($entry.digits -in "$($attempt.code)", $task.fraud_key) { break }
    }
    [void] (Ask 'DELETE' $path)
    # As text: a number would lose the zero of 071.
    Complete @{ event = 'pressed'; attempt = $number; digits = [string] $entry.digits; ended_by = $entry.ended_by }
} catch {
    # Without numbers and codes: this goes into PhoneGate's log.
    [Console]::Error.WriteLine($_.Exception.GetType().Name)
    exit 1
}

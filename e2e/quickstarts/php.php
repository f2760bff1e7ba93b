
foreach (json_decode(file_get_contents($argv[1]), true)['vectors'] as $v) {
    echo var_export(verify($v['body'], $v['headers'], $v['secrets'], $v['now']), true), "\n";
}

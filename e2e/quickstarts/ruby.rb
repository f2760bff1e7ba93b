require "json"

JSON.parse(File.read(ARGV[0], encoding: "UTF-8"))["vectors"].each do |v|
  puts verify(v["body"], v["headers"], v["secrets"], v["now"])
end
